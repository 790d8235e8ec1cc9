package chaos

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echoLink is a link to somebody who says everything back.
func echoLink(t *testing.T) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { io.Copy(conn, conn); conn.Close() })
		}
	})
	way, err := openLink(l.Addr().String(), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { way.close(); l.Close(); all.Wait() })
	return way
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// say sends a message and reads as much back.
func say(conn net.Conn, message []byte) ([]byte, error) {
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	got := make([]byte, len(message))
	n, err := io.ReadFull(conn, got)
	return got[:n], err
}

func TestALinkPassesEverythingAndItsEnd(t *testing.T) {
	way := echoLink(t)
	for _, addr := range way.addrs {
		conn, message := dial(t, addr), random(100_000)
		var sending sync.WaitGroup
		sending.Go(func() { conn.Write(message); conn.CloseWrite() })
		got, err := io.ReadAll(conn)
		sending.Wait()
		if err != nil || !bytes.Equal(got, message) {
			t.Errorf("%d of %d bytes came back: %v", len(got), len(message), err)
		}
	}
}

// broken runs a fault until done is called.
func (l *link) broken(t *testing.T, kind faultKind, pace time.Duration) (done func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		if err := l.misbehave(ctx, kind, patience, pace); err != nil {
			t.Error(err)
		}
	})
	for does, _, _ := l.state(); does != kind; does, _, _ = l.state() {
		pause(ctx, time.Millisecond)
	}
	return func() { cancel(); all.Wait() }
}

func TestALinkThatResetsEndsAllConnections(t *testing.T) {
	way := echoLink(t)
	old := dial(t, way.addrs[0])
	if _, err := say(old, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	done := way.broken(t, linkReset, 0)
	if _, err := io.ReadAll(old); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the old connection: %v, want a reset", err)
	}
	fresh, err := net.Dial("tcp", way.addrs[0])
	if err == nil { // the reset may come before the dialing has ended
		_, err = io.ReadAll(fresh)
		fresh.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection: %v, want a reset", err)
	}
	done()
	if _, err := say(dial(t, way.addrs[0]), []byte("hello")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestALinkThatCutsGivesHalfOfAnAnswer(t *testing.T) {
	way := echoLink(t)
	conn := dial(t, way.addrs[0])
	done := way.broken(t, linkCut, 0)
	defer done()
	if got, err := say(conn, []byte("hello hello")); err == nil {
		t.Errorf("got %q whole", got)
	}
}

func TestALinkThatIsHalfOpenIsSilentAndThenResets(t *testing.T) {
	way := echoLink(t)
	conn := dial(t, way.addrs[0])
	done := way.broken(t, linkDead, 0)
	conn.SetDeadline(time.Now().Add(50 * time.Millisecond))
	if got, err := say(conn, []byte("hello")); lateOr(err, wrong) != late {
		t.Errorf("got %q, %v; want silence", got, err)
	}
	done()
	conn.SetDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("afterwards got %q, %v; want a reset", got, err)
	}
	if _, err := say(dial(t, way.addrs[1]), []byte("hello")); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}

func TestALinkThatRefusesKeepsItsConnections(t *testing.T) {
	way := echoLink(t)
	conn := dial(t, way.addrs[0])
	if _, err := say(conn, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	way.deafen()
	if _, err := net.Dial("tcp", way.addrs[0]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v, want it refused", err)
	}
	if _, err := say(conn, []byte("hello")); err != nil {
		t.Errorf("the old connection: %v", err)
	}
	if err := way.listen(); err != nil {
		t.Fatal(err)
	}
	if _, err := say(dial(t, way.addrs[0]), []byte("hello")); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestALinkThatIsSlowOrDelaysLosesNothing(t *testing.T) {
	for _, kind := range []faultKind{linkSlow, linkDelayed} {
		way := echoLink(t)
		done := way.broken(t, kind, time.Millisecond)
		message := random(8_000)
		if got, err := say(dial(t, way.addrs[0]), message); err != nil || !bytes.Equal(got, message) {
			t.Errorf("%s: %d of %d bytes came back: %v", kind, len(got), len(message), err)
		}
		done()
	}
}
