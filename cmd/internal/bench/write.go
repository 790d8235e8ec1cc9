package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"charactier-proxy/cmd/internal/bench/report"
)

// write prints the table and leaves all files in the directory for results.
func (b *bench) write(stdout io.Writer) error {
	if err := os.MkdirAll(b.opts.out, 0o755); err != nil {
		return fmt.Errorf("making the directory for the results: %w", err)
	}
	if err := b.report.WriteTable(stdout); err != nil {
		return err
	}
	files := map[string]func(io.Writer) error{
		"table.txt":   b.report.WriteTable,
		"samples.csv": b.report.WriteSamples,
		"ratios.csv":  b.report.WriteRatios,
	}
	for _, c := range b.report.Contenders {
		if c.Kind == report.Ours {
			files[pictureName(c.Name)] = func(w io.Writer) error { return b.report.WritePicture(w, c.Name) }
		}
	}
	for name, write := range files {
		if err := writeFile(filepath.Join(b.opts.out, name), write); err != nil {
			return err
		}
	}
	fmt.Fprintf(stdout, "\nThe files are in %s.\n", b.opts.out)
	return nil
}

func pictureName(contender string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, contender) + ".svg"
}

func writeFile(path string, write func(io.Writer) error) error {
	var content bytes.Buffer
	if err := write(&content); err != nil {
		return err
	}
	if err := os.WriteFile(path, content.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	return nil
}

// facts are what a reader must know of the machine and the programs.
func (b *bench) facts(ctx context.Context) []string {
	facts := []string{
		time.Now().UTC().Format("2006-01-02 15:04 MST") + ", " + machine(),
		b.world.cores.String(),
		fmt.Sprintf("%d rounds of %s; load average at the beginning %s", b.opts.rounds, b.opts.time, loadAverage()),
		firstLine(ctx, b.world.programs["nginx"], "-v"),
		firstLine(ctx, b.world.programs["haproxy"], "-v"),
		"charactier-proxy: " + firstLine(ctx, b.opts.program, "--version"),
	}
	for _, build := range b.opts.builds {
		facts = append(facts, build.name+": "+firstLine(ctx, build.path, "--version"))
	}
	return facts
}

// machine names processor, kernel and compiler.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(text), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model = strings.Trim(line, " \t:")
		}
	}
	kernel := "unknown"
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		kernel = unix.ByteSliceToString(name.Release[:])
	}
	return fmt.Sprintf("%s, %d processors, Linux %s, %s", model, runtime.NumCPU(), kernel, runtime.Version())
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// firstLine is what a program says of itself; the reason if it says nothing.
func firstLine(ctx context.Context, path string, args ...string) string {
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil && line == "" {
		return err.Error()
	}
	return line
}
