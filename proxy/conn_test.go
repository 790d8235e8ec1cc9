package proxy

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charactier-proxy/proxy/proxytest"
)

func TestAClientThatLeavesIsNotTheSlotsFault(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		close(arrived)
		c.Gone()
		close(gone)
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.HalfCloseGrace = time.Millisecond })
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	<-arrived
	c.Close()
	<-gone // the slot is told
	e := f.entry(1)
	if e["status"] != int64(499) || e["caused_by"] != "client" {
		t.Errorf("access log: %v", e)
	}
	if s := f.stats(); s.Faults != 0 || s.InFlight != 0 {
		t.Errorf("faults %d, in flight %d", s.Faults, s.InFlight)
	}
}

func TestAClientThatStopsSendingStillGetsItsAnswer(t *testing.T) {
	half := make(chan struct{})
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		<-half
		w.Write(body)             //nolint:errcheck // the client tells
		io.WriteString(w, "done") //nolint:errcheck // the client tells
	})
	for name, request := range map[string]string{
		"GET":  "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"POST": "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\n+",
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, slot)
			c := f.dial()
			c.say(request)
			c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the answer tells
			f.await("the half-close to be seen", func() bool { return f.anyConn((*clientConn).leftHalfClosed) })
			go func() { half <- struct{}{} }()
			if res, body := c.whole("GET"); res.StatusCode != 200 || !strings.HasSuffix(body, "done") {
				t.Errorf("%s %q", res.Status, body)
			}
			c.ended()
		})
	}
}

func TestAResetIsNoticedAtOnceAlsoAfterAHalfClose(t *testing.T) {
	for _, half := range []bool{false, true} {
		arrived, gone := make(chan struct{}), make(chan struct{})
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			c.Head()
			close(arrived)
			c.Gone()
			close(gone)
		})
		f := startFront(t, slot.Addr()) // whose grace is longer than the test
		c := f.dial()
		c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
		<-arrived
		if half {
			c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the answer tells
			f.await("the half-close to be seen", func() bool { return f.anyConn((*clientConn).leftHalfClosed) })
		}
		c.Conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then the close is a plain one and the test fails
		c.Close()
		select {
		case <-gone:
		case <-time.After(patience / 2):
			t.Fatalf("half-closed %v: the slot was not told", half)
		}
		if e := f.entry(1); e["status"] != int64(499) {
			t.Errorf("access log: %v", e)
		}
	}
}

// A deadline bounds the wait for the next bytes to be taken, however many are to
// be written.
func TestAWriteOfWhichSomethingIsTakenIsNeverLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		c := newClientConn(ours, newServing(NewServer(ServerOptions{}), nil))
		defer c.Close()
		go func() {
			b := make([]byte, 1)
			for range 10 {
				time.Sleep(time.Second - time.Millisecond)
				theirs.Read(b) //nolint:errcheck // the writer tells
			}
		}()
		c.SetWriteDeadline(time.Now().Add(time.Second)) //nolint:errcheck // a pipe has deadlines
		start := time.Now()
		n, err := c.Write(make([]byte, 20))
		if n != 10 || !isTimeout(err) {
			t.Errorf("%d bytes, %v; want those that were taken and a timeout", n, err)
		}
		if took := time.Since(start); took < 10*time.Second {
			t.Errorf("it gave up after %v", took)
		}
	})
}

func TestADeadlineInThePastIsNotRenewed(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newClientConn(ours, newServing(NewServer(ServerOptions{}), nil))
	defer c.Close()
	c.SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // a pipe has deadlines
	if _, err := c.Write([]byte("x")); !isTimeout(err) {
		t.Errorf("%v", err)
	}
}

func TestHTTP2IsKnownByItsFirstBytesHoweverTheyCome(t *testing.T) {
	for _, tt := range []struct {
		pieces []string
		http2  bool
	}{
		{[]string{"PRI * HTTP/2.0"}, true},
		{[]string{"P", "R", "I * "}, true},
		{[]string{"\r\n", "PR", "I"}, true},
		{[]string{"P", "OST / "}, false},
		{[]string{"\r", "\nGET /"}, false},
	} {
		ours, theirs := net.Pipe()
		c := newClientConn(ours, newServing(NewServer(ServerOptions{}), nil))
		go func() {
			for _, p := range tt.pieces {
				io.WriteString(theirs, p) //nolint:errcheck // the reader tells
			}
		}()
		b := make([]byte, 14)
		if _, err := c.Read(b); err != nil {
			t.Fatal(err)
		}
		if c.http2.Load() != tt.http2 {
			t.Errorf("%q: HTTP/2 %v", tt.pieces, c.http2.Load())
		}
		c.Close()
		theirs.Close()
	}
}
