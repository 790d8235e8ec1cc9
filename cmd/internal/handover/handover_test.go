package handover_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/handover"

	"go.uber.org/goleak"
)

const patience = 20 * time.Second

// TestMain is the successor too: the test binary finds its end in the environment.
func TestMain(m *testing.M) {
	c, err := handover.Inherit()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case c == nil:
		goleak.VerifyTestMain(m)
	}
	if err := succeed(c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// succeed answers on a listener that it is given.
func succeed(c *handover.Conn) error {
	fmt.Fprintln(os.Stderr, "begun")
	m, err := c.Receive()
	if err != nil {
		return err
	}
	if m.Kind == "hang" {
		if err := c.Send("hangs", nil); err != nil {
			return err
		}
		select {}
	}
	if m.Kind == "last words" {
		_, err := c.Peer() // what came since stays unread
		for n := range lastWords {
			err = errors.Join(err, c.Send("word", n))
		}
		return err
	}
	ln, err := net.FileListener(m.Files[0])
	if err != nil {
		return err
	}
	m.Close()
	pid, err := c.Peer()
	if err != nil {
		return err
	}
	if err := handover.KeepStderr(); err != nil {
		return err
	}
	if err := c.Send("pid", pid); err != nil {
		return err
	}
	conn, err := ln.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := c.Receive(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("the end of the other process was told as %v", err)
	}
	_, err = io.WriteString(conn, "hello")
	return err
}

func start(t *testing.T, stderr io.Writer) *handover.Successor {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := handover.Start(self, nil, false, stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return s
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestASuccessorGetsMessagesAndListeners(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := start(t, &out)
	fd, err := handover.Duplicate(ln.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send("listen", struct{}{}, fd); err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd) //nolint:errcheck // it was sent
	ln.Close()        // the successor's goes on
	m, err := s.Receive()
	pid := 0
	if err == nil {
		err = m.Decode(&pid)
	}
	if err != nil || m.Kind != "pid" || pid != os.Getpid() {
		t.Errorf("the successor says %q and that it was started by %d: %v", m.Kind, pid, err)
	}
	// Its standard error is ours alone now, so that this has an end while it runs.
	if said := s.Said(bounded(t)); said != "begun" || out.String() != "begun\n" {
		t.Errorf("it has said %q, passed on was %q", said, out.String())
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.Conn.Close()
	if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil {
		t.Errorf("the successor answers %q, %v", got, err)
	}
	if err := s.Await(bounded(t)); err != nil {
		t.Error(err)
	}
	s.Process.Close()
}

const lastWords = 5

func TestWhatAProcessSaidIsHeardAlsoWhenItEndedWithoutListening(t *testing.T) {
	s := start(t, io.Discard)
	defer s.Close()
	for _, kind := range []string{"last words", "unread"} {
		if err := s.Send(kind, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Await(bounded(t)); err != nil {
		t.Fatal(err)
	}
	for n := range lastWords {
		if m, err := s.Receive(); err != nil || string(m.Body) != fmt.Sprint(n) {
			t.Fatalf("word %d is %s, %v", n, m.Body, err)
		}
	}
	if _, err := s.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("its end is told as %v", err)
	}
}

func TestASuccessorThatHangsCanBeEnded(t *testing.T) {
	s := start(t, io.Discard)
	defer s.Close()
	if err := s.Send("hang", nil); err != nil {
		t.Fatal(err)
	}
	if m, err := s.Receive(); err != nil || m.Kind != "hangs" {
		t.Fatalf("it says %q, %v", m.Kind, err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Await(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Errorf("ending it once more: %v", err)
	}
	if _, err := s.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("its end is told as %v", err)
	}
	if said := s.Said(bounded(t)); said != "begun" {
		t.Errorf("it has said %q", said)
	}
}

func TestAProgramThatCannotBeStartedIsAnError(t *testing.T) {
	if _, err := handover.Start("/nonexistent", nil, false, io.Discard); err == nil || !strings.Contains(err.Error(), "starting /nonexistent") {
		t.Errorf("got %v", err)
	}
}

func TestAMessageThatIsTooLargeIsRefusedByWhoSendsIt(t *testing.T) {
	s := start(t, io.Discard)
	defer s.Close()
	defer s.Kill() //nolint:errcheck // it may have ended
	if err := s.Send("large", strings.Repeat("x", 70<<10)); err == nil {
		t.Error("it was sent")
	}
}
