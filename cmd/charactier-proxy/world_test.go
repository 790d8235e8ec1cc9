package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher/control"
)

// world is a daemon within the test's own process.
type world struct {
	*testing.T
	dir    string
	daemon *daemon
	client *control.Client
	log    *logBuffer
	// end stops the daemon and returns what run returned.
	end func() error
}

func newWorld(t *testing.T, yaml string) *world {
	return newWorldWith(t, yaml, func(*daemonOptions) {})
}

func newWorldWith(t *testing.T, yaml string, adjust func(*daemonOptions)) *world {
	w := &world{T: t, dir: shortDir(t), log: &logBuffer{}}
	w.write(yaml)
	p := paths.Paths{
		Config: w.config(), ConfigNamed: true,
		StateDir: filepath.Join(w.dir, "state"), Socket: filepath.Join(w.dir, "c.sock"),
	}
	cfg, err := config.Load(p.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := daemonOptions{paths: p, config: cfg, version: config.VersionOf(p.Config), stderr: w.log}
	adjust(&o)
	w.daemon, err = newDaemon(ctx, o)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.daemon.run(ctx) }()
	w.end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	w.client = &control.Client{Socket: p.Socket}
	t.Cleanup(func() {
		if err := w.end(); err != nil {
			t.Errorf("the daemon ended with: %v", err)
		}
		if t.Failed() {
			t.Logf("the daemon said:\n%s", w.log)
		}
	})
	await(t, "the daemon to be ready", func() bool { return w.log.contains(`"ready"`) })
	return w
}

func (w *world) config() string { return filepath.Join(w.dir, "config.yaml") }

// write replaces the configuration as an editor does: another file, renamed.
func (w *world) write(yaml string) {
	w.Helper()
	next := w.config() + "~"
	if err := os.WriteFile(next, []byte(yaml), 0o600); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(next, w.config()); err != nil {
		w.Fatal(err)
	}
}

// change writes another configuration and waits until it was taken or refused.
func (w *world) change(yaml string) control.ConfigStatus {
	w.Helper()
	before := w.status().Config
	w.write(yaml)
	var now control.ConfigStatus
	await(w.T, "the configuration to be looked at", func() bool {
		now = w.status().Config
		return now.Loaded != before.Loaded || now.RejectedAt != before.RejectedAt
	})
	return now
}

func (w *world) status() control.Status {
	w.Helper()
	s, err := w.client.Status(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// get asks once, on a connection of its own.
func get(address, path string) (status int, body string, err error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	res, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// namedSlot starts a slot that says its name, and returns its address. Every
// answer has the request's id, as the load generator wants it; /slow answers
// once released is closed.
func namedSlot(t *testing.T, name string) string {
	return slotWith(t, name, nil)
}

func slotWith(t *testing.T, name string, released <-chan struct{}) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-released
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":%q,"slot":%q}`, r.Header.Get("X-Request-Id"), name)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// freeAddress is one that nobody listens on for the moment.
func freeAddress(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "cp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// logBuffer collects a log that is written while it is read.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) contains(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(text))
}
