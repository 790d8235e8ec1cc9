// Package proxytest has slots that misbehave by script: raw servers that
// refuse, hang, reset, trickle and lie, for tests of whatever talks to a slot.
//
//	slot := proxytest.Start(t, func(c *proxytest.Conn) {
//		c.Request()
//		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
//	})
//
// A script runs once for each connection, on its own goroutine, and the
// connection closes when it returns. Everything ends with the test.
package proxytest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Slot is a raw server that follows a script.
type Slot struct {
	ln       net.Listener
	script   func(*Conn)
	accepted atomic.Int64
	done     chan struct{}
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

// Start runs a slot on a free port of 127.0.0.1 until the test ends.
func Start(t testing.TB, script func(*Conn)) *Slot {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, script)
}

// StartUnix runs a slot on a unix socket.
func StartUnix(t testing.TB, script func(*Conn)) *Slot {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "slot.sock"))
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, script)
}

func serve(t testing.TB, ln net.Listener, script func(*Conn)) *Slot {
	s := &Slot{ln: ln, script: script, done: make(chan struct{})}
	s.wg.Go(s.accept)
	t.Cleanup(s.close)
	return s
}

// Addr is the slot's address as a service names it: "host:port" or
// "unix:/path".
func (s *Slot) Addr() string {
	if s.ln.Addr().Network() == "unix" {
		return "unix:" + s.ln.Addr().String()
	}
	return s.ln.Addr().String()
}

// Accepted is the number of connections so far.
func (s *Slot) Accepted() int { return int(s.accepted.Load()) }

func (s *Slot) accept() {
	for {
		nc, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, nc)
		s.mu.Unlock()
		c := &Conn{Conn: nc, N: int(s.accepted.Add(1)), r: bufio.NewReader(nc), done: s.done}
		s.wg.Go(func() {
			defer nc.Close()
			s.script(c)
		})
	}
}

func (s *Slot) close() {
	close(s.done)
	s.ln.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Conn is the slot's end of one connection. Its methods ignore errors of the
// connection: what a script is about is what the other end makes of it.
type Conn struct {
	net.Conn
	N    int // counts the slot's connections from 1
	r    *bufio.Reader
	done <-chan struct{}
}

// Read reads what no other method has taken.
func (c *Conn) Read(b []byte) (int, error) { return c.r.Read(b) }

// Head reads one request's head and returns it as it was on the wire, or
// nothing when the connection ended first.
func (c *Conn) Head() string {
	var head strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return ""
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

// Request reads one request and its body, which Body gives again. It returns
// nil when the connection ended first.
func (c *Conn) Request() *http.Request {
	req, err := http.ReadRequest(c.r)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil
	}
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	return req
}

// Say writes to the connection as it is.
func (c *Conn) Say(s string) { io.WriteString(c.Conn, s) } //nolint:errcheck // see Conn

// Answer writes an ordinary answer.
func (c *Conn) Answer(body string) {
	c.Say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// Trickle writes byte by byte, so that the other end reads it so.
func (c *Conn) Trickle(s string) {
	for i := range len(s) {
		c.Say(s[i : i+1])
		if c.Pause(time.Millisecond) {
			return
		}
	}
}

// Pause waits, and reports whether the test has ended meanwhile.
func (c *Conn) Pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return false
	case <-c.done:
		return true
	}
}

// Hang says nothing more until the test ends.
func (c *Conn) Hang() { <-c.done }

// Gone waits until the other end has closed the connection or sends a byte,
// and reports whether it closed.
func (c *Conn) Gone() bool {
	_, err := c.r.Peek(1)
	return err != nil
}

// Reset ends the connection with a TCP reset.
func (c *Conn) Reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // see Conn
	}
	c.Close()
}

// CloseWrite ends the slot's side of the connection only.
func (c *Conn) CloseWrite() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() //nolint:errcheck // see Conn
	}
}

// KeepAlive answers every request on a connection with the same body.
func KeepAlive(body string) func(*Conn) {
	return func(c *Conn) {
		for c.Request() != nil {
			c.Answer(body)
		}
	}
}

// Refused returns an address on which nobody listens.
func Refused(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Unanswered returns an address that does not answer a connect at all: its
// queue is full and nobody accepts.
func Unanswered(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) }) //nolint:errcheck // the test is over
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	fillQueue(t, address)
	return address
}

// fillQueue connects until a connect is no longer answered.
func fillQueue(t testing.TB, address string) {
	t.Helper()
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the queue does not fill")
}
