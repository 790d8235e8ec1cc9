package proxy

import (
	"io"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// longStop lets a server take so long to stop that a test would notice.
func longStop(o *frontOptions) { o.server.ShutdownTimeout, o.server.StreamGrace = 4*patience, 0 }

// dismissed reports whether a connection's server takes no more of them and has
// closed those that were idle.
func dismissed(c *clientConn) bool {
	select {
	case <-c.server.standard.closed:
		return true
	default:
		return false
	}
}

func (f *front) ends(ended chan error, within time.Duration) {
	f.t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			f.t.Error(err)
		}
	case <-time.After(within):
		f.t.Fatal("the server does not stop")
	}
}

// Its head could not say that the connection would end.
func TestAConnectionWhoseAnswerBeganBeforeTheStopEndsWithIt(t *testing.T) {
	finish := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		if c.Head(); c.N > 1 {
			c.Answer("ok")
			return
		}
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlo")
		<-finish
		c.Say("ng")
		c.Hang()
	})
	f := startFront(t, slot.Addr(), longStop)
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res := c.answer("GET")
	idle := f.dial()
	idle.get("/")
	ended := f.stopping()
	idle.ended()
	f.await("what was idle to be closed", func() bool { return f.anyConn(dismissed) })
	close(finish)
	if b, err := io.ReadAll(res.Body); string(b) != "long" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	f.ends(ended, patience)
	c.ended()
}

func TestAStreamThatIsNeverSilentIsCutAtOnce(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for !c.Pause(10 * time.Millisecond) {
			c.Say("9\r\ndata: a\n\n\r\n")
		}
	})
	f := startFront(t, slot.Addr(), longStop)
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res := c.answer("GET")
	go io.Copy(io.Discard, res.Body) //nolint:errcheck // it is cut
	f.ends(f.stopping(), cutTime/2)
	if e := f.entry(1); e["cause"] != string(causeShuttingDown) {
		t.Errorf("access log: %v", e)
	}
}

// partOfABody are framings of a body with a part of it that is not the last.
func partOfABody() []string {
	return []string{"Content-Length: 4\r\n\r\nlo", "Content-Length: 1000000\r\n\r\nlo", "Transfer-Encoding: chunked\r\n\r\n4\r\nlo"}
}

func TestARequestWhoseBodyIsStillArrivingIsAnsweredWhenItIsCut(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Hang()
	})
	for _, body := range partOfABody() {
		f := startFront(t, slot.Addr(), func(o *frontOptions) { o.server.ShutdownTimeout = 100 * time.Millisecond })
		c := f.dial()
		c.say("POST / HTTP/1.1\r\nHost: a\r\n" + body)
		f.await("the request", func() bool { return f.stats().InFlight == 1 })
		start := time.Now()
		if err := f.stop(); err == nil {
			t.Error("no error tells of a request that was cut")
		}
		if took := time.Since(start); took > cutTime {
			t.Errorf("stopping took %v", took)
		}
		if e := f.entry(1); e["cause"] != string(causeShuttingDown) {
			t.Errorf("access log: %v", e)
		}
		if res, _ := c.whole("POST"); res.StatusCode != 503 {
			t.Error(res.Status)
		}
	}
}

func TestARequestWhoseBodyIsStillArrivingEndsWellWhenTheServerStops(t *testing.T) {
	slot := proxytest.Start(t, proxytest.KeepAlive("ok"))
	for framing, request := range uploads(2 * spliceFrom) {
		f := startFront(t, slot.Addr(), longStop)
		c, idle := f.dial(), f.dial()
		c.say(request[:100_000])
		f.await("the request", func() bool { return f.stats().InFlight == 1 })
		idle.get("/")
		ended := f.stopping()
		idle.ended()
		c.say(request[100_000:])
		if res, body := c.whole("POST"); body != "ok" || !res.Close {
			t.Errorf("%s: %s with %q, close %v", framing, res.Status, body, res.Close)
		}
		f.ends(ended, patience)
	}
}

// The rest of its head comes when those that were idle are closed, and it is one
// that the other lane answers, which is still there. (net/http itself drops what
// came in part with the request before.)
func TestARequestThatCameInPartWithAnotherIsStillAnswered(t *testing.T) {
	f := startFront(t, proxytest.Start(t, proxytest.KeepAlive("ok")).Addr(), longStop, func(o *frontOptions) { o.lane = laneFast })
	c, idle := f.dial(), f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n")
	c.whole("GET")
	idle.get("/")
	ended := f.stopping()
	idle.ended()
	time.Sleep(20 * time.Millisecond) // for that nothing more happens
	c.say("X_A: b\r\n\r\n")
	if res, body := c.whole("GET"); res.StatusCode != 200 || body != "ok" || !res.Close {
		t.Errorf("%s with %q, close %v", res.Status, body, res.Close)
	}
	f.ends(ended, patience)
}

// A connection whose answer began before the stop may bring one more request,
// and if nothing but streams was left meanwhile, that is not cut with them.
func TestARequestThatComesInTheTimeOfTheStreamsIsAnswered(t *testing.T) {
	release := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		switch head := c.Head(); {
		case strings.HasPrefix(head, "GET /events "):
			c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
			io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
		case strings.HasPrefix(head, "GET /first "):
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			<-release
			c.Say("k")
		default:
			<-time.After(3 * time.Second / 2) // longer than streams may go on
			c.Answer("second")
		}
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) {
		o.lane = laneFast
		o.server.ShutdownTimeout, o.server.StreamGrace, o.server.IdleGrace = time.Hour, time.Second, time.Second
	})
	stream, c := f.dial(), f.dial()
	stream.say("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
	stream.answer("GET")
	c.say("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
	res := c.answer("GET")
	ended := f.stopping()
	f.await("what is idle to be dismissed", func() bool { return f.anyConn(dismissed) })
	close(release)
	if b, err := io.ReadAll(res.Body); string(b) != "ok" || err != nil {
		t.Fatalf("the first request got %q, %v", b, err)
	}
	f.await("nothing but the stream to be left", func() bool { s := f.stats(); return s.InFlight == s.Streams })
	c.say("GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, body := c.whole("GET"); res.StatusCode != 200 || body != "second" {
		t.Errorf("the second request got %s %q", res.Status, body)
	}
	f.ends(ended, patience)
}
