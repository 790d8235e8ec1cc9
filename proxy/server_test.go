package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"golang.org/x/sys/unix"
)

// gate is a slot whose requests wait until they are let go.
func gate(t *testing.T) (addr string, arrived chan string, letGo chan struct{}) {
	arrived, letGo = make(chan string, 100), make(chan struct{})
	over := make(chan struct{})
	addr = startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		if r.URL.Path == "/free" {
			return
		}
		select {
		case <-letGo:
			io.WriteString(w, "done") //nolint:errcheck // the client tells
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) })
	return addr, arrived, letGo
}

// stopping begins to stop the server and returns where its end will be told.
func (f *front) stopping() chan error {
	done := make(chan error, 1)
	go func() { done <- f.stop() }()
	return done
}

func TestRequestsUnderWayEndWellWhenTheServerStops(t *testing.T) {
	addr, arrived, letGo := gate(t)
	f := startFront(t, addr)
	idle, busy := f.dial(), f.dial()
	idle.get("/free")
	busy.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	for p := range arrived {
		if p == "/slow" {
			break
		}
	}
	done := f.stopping()
	idle.ended()
	f.await("the server to accept no more", func() bool {
		c, err := net.DialTimeout("tcp", f.addr, patience)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(letGo)
	res, body := busy.whole("GET")
	if res.StatusCode != 200 || body != "done" || !res.Close {
		t.Errorf("%s %q, close %v", res.Status, body, res.Close)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// nginx may send a request on a connection that we are about to close.
func TestARequestOnAnIdleConnectionIsStillAnsweredWhileTheServerStops(t *testing.T) {
	addr, _, _ := gate(t)
	f := startFront(t, addr, func(o *frontOptions) { o.server.IdleGrace = patience })
	idle, fresh := f.dial(), f.dial()
	idle.get("/free")
	fresh.get("/free")
	done := f.stopping()
	for _, c := range []*rawClient{idle, fresh} {
		c.await("the listener to close", f.refuses)
		c.say("GET /free HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, _ := c.whole("GET"); res.StatusCode != 200 || !res.Close {
			t.Errorf("%s, close %v", res.Status, res.Close)
		}
		c.ended()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (c *rawClient) await(what string, done func() bool) { await(c.t, what, done) }

// unsent is how much of what was written has not been taken by the other end's
// kernel.
func unsent(t *testing.T, c net.Conn) int {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCOUTQ) }) //nolint:errcheck // err tells
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refuses reports whether nobody accepts any more.
func (f *front) refuses() bool {
	c, err := net.Dial("tcp", f.addr)
	if err == nil {
		c.Close()
	}
	return err != nil
}

func TestARequestWhoseHeadIsStillArrivingIsAnsweredWhileTheServerStops(t *testing.T) {
	addr, _, _ := gate(t)
	f := startFront(t, addr, func(o *frontOptions) { o.server.IdleGrace = time.Millisecond })
	c := f.dial()
	c.say("GET /free HTTP/1.1\r\nHo")
	f.await("the first bytes to be read", func() bool { return unsent(t, c.Conn) == 0 })
	done := f.stopping()
	f.await("the listener to close", f.refuses)
	c.say("st: a\r\n\r\n")
	if res, _ := c.whole("GET"); res.StatusCode != 200 || !res.Close {
		t.Errorf("%s, close %v", res.Status, res.Close)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWhatWaitsInTheKernelsQueueIsAnsweredBeforeTheServerStops(t *testing.T) {
	addr, arrived, letGo := gate(t)
	f := startFront(t, addr, func(o *frontOptions) { o.server.MaxConns = 1 })
	first := f.dial()
	first.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	var queued []*rawClient
	for range 5 {
		c := f.dial()
		c.say("GET /free HTTP/1.1\r\nHost: a\r\n\r\n")
		queued = append(queued, c)
	}
	done := f.stopping()
	for _, c := range queued {
		if res, _ := c.whole("GET"); res.StatusCode != 200 {
			t.Errorf("%s", res.Status)
		}
	}
	close(letGo)
	if res, _ := first.whole("GET"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWithAnInheritedSocketTheQueueIsLeftToTheNext(t *testing.T) {
	addr, arrived, letGo := gate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held, err := ln.(*net.TCPListener).File() // what systemd would keep
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	one := startFront(t, addr, func(o *frontOptions) {
		o.listener, o.server.MaxConns, o.server.KeepBacklog = ln, 1, true
	})
	first := one.dial()
	first.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	queued := one.dial()
	queued.say("GET /free HTTP/1.1\r\nHost: a\r\n\r\n")
	done := one.stopping()
	close(letGo)
	first.whole("GET")
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := one.log.Len(); n != 1 {
		t.Fatalf("%d requests were answered by the one that stopped", n)
	}
	second := startFront(t, addr, func(o *frontOptions) { o.listener = fileListener(t, held) })
	if res, _ := queued.whole("GET"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
	second.entry(1)
}

func fileListener(t *testing.T, f *os.File) net.Listener {
	t.Helper()
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func TestWhatDoesNotEndInTimeIsCutAndCounted(t *testing.T) {
	addr, arrived, _ := gate(t)
	f := startFront(t, addr, func(o *frontOptions) { o.server.ShutdownTimeout = 50 * time.Millisecond })
	request, stream := f.dial(), f.dial()
	request.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	stream.say("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
	<-arrived
	<-arrived
	err := f.stop()
	if err == nil || !strings.Contains(err.Error(), "cut 2 requests") {
		t.Errorf("Serve returned %v", err)
	}
	if res, _ := request.whole("GET"); res.StatusCode != 503 || res.Header.Get(errorCauseField) != string(causeShuttingDown) {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	for n := range 2 {
		if e := f.entry(n + 1); e["cause"] != string(causeShuttingDown) {
			t.Errorf("access log: %v", e)
		}
	}
	if s := f.stats(); s.InFlight != 0 || s.Faults != 0 {
		t.Errorf("in flight %d, faults %d", s.InFlight, s.Faults)
	}
}

func TestAServerWithNoTimeToStopCutsAtOnce(t *testing.T) {
	addr, arrived, _ := gate(t)
	f := startFront(t, addr, func(o *frontOptions) { o.server.ShutdownTimeout = 0 })
	f.dial().say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-arrived
	select {
	case err := <-f.stopping():
		if err == nil {
			t.Error("nothing is said to have been cut")
		}
	case <-time.After(patience):
		t.Fatal("it still waits")
	}
}

func TestATunnelIsCutAtTheDeadline(t *testing.T) {
	slot := startTunnelSlot(t, func(c *proxytest.Conn) { c.Gone() })
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.server.ShutdownTimeout = 50 * time.Millisecond })
	c := f.openTunnel()
	if err := f.stop(); err != nil {
		t.Errorf("ending a stream is no failure: %v", err)
	}
	if told := f.loud.FilterMessage("ending the streams that are left").All(); len(told) != 1 || told[0].ContextMap()["streams"] != int64(1) {
		t.Errorf("the log tells %v, want one stream", told)
	}
	c.ended()
	if e := f.entry(1); e["cause"] != string(causeShuttingDown) || e["status"] != int64(101) {
		t.Errorf("access log: %v", e)
	}
}

func TestATunnelMayEndByItselfWhileTheServerStops(t *testing.T) {
	slot := startTunnelSlot(t, copyBack)
	f := startFront(t, slot.Addr())
	c := f.openTunnel()
	done := f.stopping()
	f.await("the listener to close", f.refuses)
	c.say("still")
	c.expect("still")
	c.closeWrite()
	c.ended()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHTTP2ConnectionsAreToldToGo(t *testing.T) {
	addr, arrived, letGo := gate(t)
	f := startFront(t, addr)
	client := newClient(t, true)
	res, err := client.Get("http://" + f.addr + "/free")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	<-arrived
	got := make(chan error, 1)
	go func() {
		res, err := client.Get("http://" + f.addr + "/slow")
		if err == nil {
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(b) != "done" {
				err = errors.New("body " + string(b))
			}
		}
		got <- err
	}()
	<-arrived
	done := f.stopping()
	f.await("the listener to close", f.refuses)
	close(letGo)
	if err := <-got; err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// countingListener counts what was accepted.
type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return c, err
}

func TestOverTheBoundConnectionsWaitAndAreNotRefused(t *testing.T) {
	addr, _, letGo := gate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &countingListener{Listener: ln}
	f := startFront(t, addr, func(o *frontOptions) { o.listener, o.server.MaxConns = counted, 1 })
	first, second := f.dial(), f.dial()
	first.say("GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	second.say("GET /free HTTP/1.1\r\nHost: a\r\n\r\n")
	f.await("accepting to pause", f.server.Saturated) // until a connection ends
	if n := counted.accepted.Load(); n != 1 {
		t.Errorf("%d were accepted", n)
	}
	close(letGo)
	for _, c := range []*rawClient{first, second} {
		if res, _ := c.whole("GET"); res.StatusCode != 200 {
			t.Errorf("%s", res.Status)
		}
	}
	second.Close()
	f.await("accepting to go on", func() bool { return !f.server.Saturated() })
}

// slowhttptest, in short: slow heads and silent connections.
func TestAHeadThatDoesNotComeEndsTheConnection(t *testing.T) {
	addr, _, _ := gate(t)
	f := startFront(t, addr, func(o *frontOptions) {
		o.server.ReadHeaderTimeout, o.server.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
	})
	silent, slow, idle := f.dial(), f.dial(), f.dial()
	slow.say("GET / HTTP/1.1\r\nHost: a\r\n")
	idle.get("/free")
	silent.ended()
	idle.ended()
	slow.ended()
}

func TestAHeadThatIsTooLargeIsRefused(t *testing.T) {
	addr, _, _ := gate(t)
	f := startFront(t, addr, func(o *frontOptions) { o.server.MaxHeaderBytes = 1000 })
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 10_000) + "\r\n\r\n")
	if res, _ := c.whole("GET"); res.StatusCode != 431 {
		t.Errorf("%s", res.Status)
	}
}

// RFC 9112, section 2.2.
func TestEmptyLinesBeforeARequestAreSkipped(t *testing.T) {
	addr, _, _ := gate(t)
	f := startFront(t, addr)
	for _, lines := range []string{"\r\n", "\r\n\r\n\r\n"} {
		c := f.dial()
		for range 2 {
			c.say(lines)
			c.get("/free")
			f.await("the connection to be idle", func() bool { return !f.anyConn(busy) })
		}
	}
	c := f.dial()
	for _, piece := range []string{"\r", "\n", "\r", "\nG", "E", "T /free HTTP/1.1\r\nHost: a\r\n\r\n"} {
		c.say(piece)
	}
	if res, _ := c.whole("GET"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
	for _, wrong := range []string{"\n", "\r", " \r\n", "x\r\n"} {
		c := f.dial()
		c.say(wrong + "GET /free HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, _ := c.whole("GET"); res.StatusCode != 400 && wrong != "\n" {
			t.Errorf("%q: %s", wrong, res.Status)
		}
	}
}

func busy(c *clientConn) bool { return connPhase(c.phase.Load()) != phaseIdle }

func TestAnHTTP2PrefaceInPiecesIsStillHTTP2(t *testing.T) {
	addr, _, _ := gate(t)
	f := startFront(t, addr)
	c := f.dial()
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for i := range preface {
		c.say(preface[i : i+1])
	}
	frame := make([]byte, 9)
	if _, err := io.ReadFull(c.r, frame); err != nil || frame[3] != 4 {
		t.Errorf("the first frame is % x, %v; want SETTINGS", frame, err)
	}
}

func TestAListenerThatFailsEndsServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	err = NewServer(ServerOptions{Handler: http.NotFoundHandler()}).Serve(t.Context(), ln)
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve returned %v", err)
	}
}

// tiredListener fails some accepts for want of file descriptors.
type tiredListener struct {
	net.Listener
	fails int
}

func (l *tiredListener) Accept() (net.Conn, error) {
	if l.fails--; l.fails >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestALackOfFileDescriptorsIsToldOnceAndSurvived(t *testing.T) {
	addr, _, _ := gate(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := startFront(t, addr, func(o *frontOptions) { o.listener = &tiredListener{ln, 3} })
	f.dial().get("/free")
	if n := f.loud.FilterMessage("accepting a connection").Len(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

func TestListenersOfOneServerEndOneByOne(t *testing.T) {
	s := NewServer(ServerOptions{Handler: http.NotFoundHandler(), ShutdownTimeout: patience})
	var addrs []string
	var stops []func() error
	for range 2 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, ln) }()
		addrs = append(addrs, ln.Addr().String())
		stops = append(stops, func() error { cancel(); return <-done })
	}
	client := newClient(t, false)
	for i, stop := range stops {
		res, err := client.Get("http://" + addrs[i])
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		client.CloseIdleConnections()
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

// A stream may last for ever, so a server that stops does not wait for it as for
// a request.
func TestAStreamDoesNotKeepAServerFromStopping(t *testing.T) {
	release := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		if strings.HasPrefix(c.Head(), "GET /slow ") {
			<-release
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return
		}
		c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
		io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) {
		o.server.ShutdownTimeout, o.server.StreamGrace = time.Hour, time.Millisecond
	})
	stream, request := f.dial(), f.dial()
	stream.say("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
	stream.answer("GET")
	request.say("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	f.await("both to be in flight", func() bool { return f.stats().InFlight == 2 })
	stopped := f.stopping()
	f.await("the listener to close", f.refuses)
	close(release)
	if res, body := request.whole("GET"); res.StatusCode != 200 || body != "ok" {
		t.Errorf("the request in flight got %s %q", res.Status, body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("ending a stream is no failure: %v", err)
	}
}
