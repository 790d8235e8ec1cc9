package proxy

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func TestTheAccessLogTellsWhatHappenedAndNoSecrets(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr(), trusting)
	c := f.dial()
	c.say("POST /login?token=s3cret&x HTTP/1.1\r\nHost: a.example\r\nAuthorization: Bearer s3cret\r\nCookie: sid=s3cret\r\n" +
		"X-Forwarded-For: 203.0.113.9\r\nX-Request-Id: req-7\r\nContent-Length: 5\r\n\r\nhello")
	c.whole("POST")
	e := f.entry(1)
	for key, want := range map[string]any{
		"request_id": "req-7", "service": "backend", "slot": "blue", "target": slot.Addr(), "lane": *laneFlag,
		"client": "203.0.113.9", "method": "POST", "host": "a.example", "path": "/login?…", "protocol": "HTTP/1.1",
		"status": int64(200), "bytes_in": int64(5), "bytes_out": int64(2),
	} {
		if e[key] != want {
			t.Errorf("%s is %v, want %v", key, e[key], want)
		}
	}
	for _, key := range []string{"total", "connect", "first_byte"} {
		if e[key] == nil {
			t.Errorf("%s is missing", key)
		}
	}
	for _, key := range []string{"cause", "caused_by", "error", "aborted", "stream", "upgrade", "held"} {
		if e[key] != nil {
			t.Errorf("%s: %v for a request that went well", key, e[key])
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(line), "s3cret") {
		t.Errorf("a secret is in %s", line)
	}
}

func TestTheAccessLogShowsQueriesWhenItIsTold(t *testing.T) {
	slot, _ := recordHeads(t)
	var out bytes.Buffer
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.InfoLevel)
	f := startFront(t, slot.Addr(), func(o *frontOptions) {
		o.settings.AccessLog = NewAccessLog(zap.New(core), AccessLogOptions{Query: true})
	})
	f.dial().get("/a?b=c")
	if err := f.stop(); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if line["path"] != "/a?b=c" {
		t.Errorf("path %v", line["path"])
	}
}

func TestWithoutAnAccessLogNothingIsWritten(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.settings.AccessLog = nil })
	f.dial().get("/")
	if f.log.Len() != 0 {
		t.Errorf("logged %v", f.log.All())
	}
}
