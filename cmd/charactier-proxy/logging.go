package main

import (
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"charactier-proxy/cmd/internal/config"
)

// newLogger writes to w: JSON for machines, columns for a person at a terminal.
// The level can be changed while it runs.
func newLogger(w io.Writer, format string, level zap.AtomicLevel) *zap.Logger {
	conf := zap.NewProductionEncoderConfig()
	conf.TimeKey, conf.MessageKey = "time", "msg"
	conf.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	conf.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(conf)
	if format == "console" || (format == "auto" && isTerminal(w)) {
		conf.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		conf.EncodeLevel = zapcore.CapitalLevelEncoder
		conf.ConsoleSeparator = "  "
		encoder = zapcore.NewConsoleEncoder(conf)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level))
}

// logLevel is the configured level; the configuration has checked its name.
func logLevel(cfg *config.Config) zapcore.Level {
	level, err := zapcore.ParseLevel(cfg.Log.Level)
	if err != nil {
		return zapcore.InfoLevel
	}
	return level
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
