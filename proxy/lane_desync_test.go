package proxy

import (
	"io"
	"strings"
	"testing"

	"charactier-proxy/proxy/proxytest"
)

// The slot answers 404 and goes before it has read the body, and we answer with
// a kept file instead. What the client then sends of the body is no request.
func TestTheRestOfABodyBehindAKeptFileIsNoRequest(t *testing.T) {
	for _, framing := range []string{"Content-Length: 10000\r\n\r\n1", "Content-Length: 1000000\r\n\r\n1", "Transfer-Encoding: chunked\r\n\r\nfffff\r\n1"} {
		next := make(chan struct{})
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			if c.N > 1 {
				c.Request()
				c.Answer("smuggled")
				return
			}
			c.Head()
			c.Say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			c.Close() // with bytes unread or to come: a reset
			close(next)
		})
		f := startFront(t, slot.Addr(), withAssets(kept(map[string]string{"a.js": "kept"})))
		c := f.dial()
		const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
		c.say("GET " + staticPath + "a.js HTTP/1.1\r\nHost: a\r\n" + framing)
		<-next
		f.await("an answer", func() bool { // the first bytes meet the reset, the next a broken pipe
			c.Write([]byte("2")) //nolint:errcheck // the answer tells
			return f.log.Len() > 0
		})
		if res, body := c.whole("GET"); body != "kept" || !res.Close {
			t.Errorf("%s: %s with %q, close %v", framing, res.Status, body, res.Close)
		}
		c.Write([]byte(smuggled)) //nolint:errcheck // the connection may have ended
		c.ended()
		c.Close()
	}
}

// A slot that answers without reading the body leaves what is still to come of it
// to nobody: neither slot nor client sees a second request.
func TestTheRestOfABodyBehindAnEarlyAnswerIsNoRequest(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, framing := range []string{"Content-Length: 1000000\r\n\r\n1", "Transfer-Encoding: chunked\r\n\r\nfffff\r\n1"} {
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			if head := c.Head(); !strings.HasPrefix(head, "POST") {
				t.Errorf("the slot got %q", head)
			}
			c.Answer("early")
			io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
		})
		f := startFront(t, slot.Addr())
		c := f.dial()
		c.say("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
		if res, body := c.whole("POST"); body != "early" || !res.Close {
			t.Errorf("%s: %s with %q, close %v", framing, res.Status, body, res.Close)
		}
		c.Write([]byte(smuggled)) //nolint:errcheck // the connection may have ended
		c.closeWrite()
		c.ended()
		c.Close()
		if n := f.log.Len(); n != 1 {
			t.Errorf("%d requests are in the log", n)
		}
	}
}
