package control_test

import (
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func TestUnreachableDaemonIsExplained(t *testing.T) {
	dir := publicDir(t)
	stale(t, filepath.Join(dir, "stale"))
	for name, c := range map[string]struct{ socket, says string }{
		"no socket":         {filepath.Join(dir, "none"), "there is no socket " + dir + "/none"},
		"a dead daemon's":   {filepath.Join(dir, "stale"), "nobody listens on " + dir + "/stale"},
		"below a non-dir":   {filepath.Join(dir, "stale", "s"), "there is no socket"},
		"one that hangs up": {hangUp(t), "closed the connection without an answer"},
	} {
		t.Run(name, func(t *testing.T) {
			client := control.Client{Socket: c.socket}
			_, err := client.Status(t.Context())
			if !errors.Is(err, control.ErrUnreachable) || control.ExitCode(err) != control.ExitUnreachable {
				t.Fatalf("got %v, want ErrUnreachable", err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, want %q", err, c.says)
			}
			var h interface{ Hint() string }
			if !errors.As(err, &h) || !strings.HasPrefix(h.Hint(), "systemctl status charactier-proxy") {
				t.Errorf("no hint with %v", err)
			}
		})
	}
}

// hangUp is a socket that closes every connection.
func hangUp(t *testing.T) string {
	t.Helper()
	path := filepath.Join(publicDir(t), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // that is all it does
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close() // ends the loop
		<-done
	})
	return path
}

func TestZeroClientCallsTheDefaultSocket(t *testing.T) {
	var c control.Client
	_, err := c.Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), control.DefaultSocket) {
		t.Errorf("got %v, want an error that names %s", err, control.DefaultSocket)
	}
}

func TestAnswersOfAnotherProgramAreRecognised(t *testing.T) {
	path := filepath.Join(publicDir(t), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	defer func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}()
	c := control.Client{Socket: path}
	_, err = c.Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not from charactier-proxy: HTTP 404") {
		t.Errorf("got %v", err)
	}
}

func TestClientIsToldOfADaemonOfAnotherVersion(t *testing.T) {
	w := serve(t, failing(switcher.Record{}, switcher.ErrBusy))
	var told []string
	w.client.OtherVersion = func(v string) { told = append(told, v) }
	for _, own := range []string{"", "v1", "v0"} {
		w.client.OwnVersion = own
		if _, err := w.client.Version(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 1 || told[0] != "v1" {
		t.Errorf("told %q, want v1 once", told)
	}
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); !errors.Is(err, switcher.ErrBusy) {
		t.Fatal(err)
	}
	if len(told) != 2 {
		t.Error("a refusal does not tell the version")
	}
}

// A daemon that hangs must not hang those who watch it, nor those who undo what
// they did without it.
func TestDaemonThatSaysNothingIsGivenUp(t *testing.T) {
	path := silentSocket(t)
	c := control.Client{Socket: path}
	c.SetAnswerTime(20 * time.Millisecond)
	want := "the daemon is not reachable: nothing came from " + path + " for 20ms"
	for name, call := range map[string]func() error{
		"status":  func() error { _, err := c.Status(t.Context()); return err },
		"abort":   func() error { _, err := c.Abort(t.Context(), control.AbortRequest{}); return err },
		"reserve": func() error { _, err := c.Reserve(t.Context(), control.ReserveRequest{}); return err },
	} {
		if err := call(); !errors.Is(err, control.ErrUnreachable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
