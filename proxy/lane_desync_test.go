package proxy

import (
	"testing"

	"charactier-proxy/proxy/proxytest"
)

// The slot answers 404 and goes before it has read the body, and we answer with
// a kept file instead. What the client then sends of the body is no request.
func TestTheRestOfABodyBehindAKeptFileIsNoRequest(t *testing.T) {
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
	c.say("GET " + staticPath + "a.js HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n1")
	<-next
	f.await("an answer", func() bool { // the first bytes meet the reset, the next a broken pipe
		c.Write([]byte("2")) //nolint:errcheck // the answer tells
		return f.log.Len() > 0
	})
	if res, body := c.whole("GET"); body != "kept" || !res.Close {
		t.Errorf("%s with %q, close %v", res.Status, body, res.Close)
	}
	c.Write([]byte(smuggled)) //nolint:errcheck // the connection may have ended
	c.ended()
}
