package main

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// cutOff is a daemon that reads one request and is gone for good.
func cutOff(t *testing.T) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = c.Read(make([]byte, 4096)) // whatever came, the connection is cut
		_ = ln.Close()
		_ = c.Close()
	}()
	t.Cleanup(func() {
		_ = ln.Close() // a second time, if it was asked
		<-done
	})
	return socket
}

func TestAnOutcomeThatNobodyKnowsIsNotCalledUnreachable(t *testing.T) {
	for _, verb := range []string{"switch green", "rollback", "hold", "release-hold"} {
		t.Run(verb, func(t *testing.T) {
			e, _, stderr := testEnv()
			e.now, e.regain = time.Now, 10*time.Millisecond
			code := run(context.Background(), e, append(strings.Fields(verb), "--yes", "--socket", cutOff(t), "--state-dir", t.TempDir()))
			said := stderr.String()
			if code != control.ExitUnreachable || strings.Contains(said, "not reachable") ||
				!strings.Contains(said, "the outcome is not known: ") || !strings.Contains(said, "did not come back within 10ms") {
				t.Errorf("exit code %d and said:\n%s", code, said)
			}
		})
	}
}

func TestTheStateFileTellsTheOutcomeOfADaemonThatStaysAway(t *testing.T) {
	e, stdout, stderr := testEnv()
	e.now, e.regain, e.pid, e.uid = time.Now, 10*time.Millisecond, os.Getpid(), os.Geteuid()
	dir := t.TempDir()
	store, err := switcher.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	last := switcher.Record{
		ID: "op", Kind: switcher.KindSwitch, Outcome: switcher.Done, Started: time.Now(),
		Moves: []switcher.Move{{Service: "backend", From: switcher.Blue, To: switcher.Green}},
		Actor: switcher.Actor{UID: uint32(e.uid), PID: int32(e.pid)},
	}
	if err := errors.Join(store.Save(switcher.State{Generation: 1, Last: &last}), store.Close()); err != nil {
		t.Fatal(err)
	}
	code := run(context.Background(), e, []string{"switch", "green", "--socket", cutOff(t), "--state-dir", dir})
	if code != 0 || !strings.Contains(stdout.String(), "backend: blue -> green") || !strings.Contains(stderr.String(), "stays away") {
		t.Errorf("exit code %d, said:\n%s%s", code, stdout, stderr)
	}
}

func TestAnotherOperationIsNotTakenForTheOwn(t *testing.T) {
	e, _, _ := testEnv()
	e.pid, e.uid = 7, 1000
	own := switcher.Record{Kind: switcher.KindSwitch, Started: noon, Actor: switcher.Actor{PID: 7, UID: 1000}}
	w := e.wish(switcher.KindSwitch)
	if !w.made(e, own) {
		t.Error("the own record was not found")
	}
	for name, change := range map[string]func(*switcher.Record){
		"of another process": func(r *switcher.Record) { r.Actor.PID = 8 },
		"of another user":    func(r *switcher.Record) { r.Actor.UID = 0 },
		"of another kind":    func(r *switcher.Record) { r.Kind = switcher.KindRollback },
		"of long before":     func(r *switcher.Record) { r.Started = noon.Add(-time.Minute) },
	} {
		other := own
		change(&other)
		if w.made(e, other) {
			t.Errorf("a record %s was taken for the own", name)
		}
	}
}

func TestALongWaitForAnAnswerIsSaid(t *testing.T) {
	e, _, stderr := testEnv()
	e.notice = time.Millisecond
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	run(ctx, e, []string{"status", "--socket", socket})
	if n := strings.Count(stderr.String(), "charactier-proxyctl: waiting for the daemon\n"); n != 1 {
		t.Errorf("said it %d times:\n%s", n, stderr)
	}
}
