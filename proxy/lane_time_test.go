package proxy

import (
	"io"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// slowClients makes clients who take nothing for that long too slow.
func slowClients(span time.Duration) func(*frontOptions) {
	return func(o *frontOptions) { o.service.ProgressTimeout = span }
}

// How long a client may be slow counts from when there is something for it, not
// from when the slot was last heard of.
func TestASlotThatTakesItsTimeMakesNoClientSlow(t *testing.T) {
	const span, longer = 100 * time.Millisecond, 300 * time.Millisecond
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, script := range map[string]func(*proxytest.Conn){
		"after an early hint": func(c *proxytest.Conn) {
			c.Say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
			c.Pause(longer)
			c.Answer("late")
		},
		"within its head": func(c *proxytest.Conn) {
			c.Say("HTTP/1.1 200 OK\r\nContent-")
			c.Pause(longer)
			c.Say("Length: 4\r\n\r\nlate")
		},
		"before the first byte": func(c *proxytest.Conn) {
			c.Pause(longer)
			c.Answer("late")
		},
		"before the end of a body in chunks": func(c *proxytest.Conn) {
			c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nlate\r\n")
			c.Pause(longer)
			c.Say("0\r\n\r\n")
		},
		"before it closes": func(c *proxytest.Conn) {
			c.Say("HTTP/1.1 200 OK\r\n\r\nlate")
			c.Pause(longer)
			c.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				for c.Request() != nil {
					script(c)
				}
			})
			f := startFront(t, slot.Addr(), slowClients(span))
			c := f.dial()
			requests := []string{get, get, uploads(20_000)["sized"], get, uploads(20_000)["in chunks"], uploads(2 * spliceFrom)["sized"]}
			for n, request := range requests { // each meets the deadlines of the one before
				c.say(request)
				res, body := c.whole("GET")
				if res.StatusCode == 103 {
					res, body = c.whole("GET")
				}
				if res.StatusCode != 200 || body != "late" {
					t.Errorf("%s with %q", res.Status, body)
				}
				if e := f.entry(n + 1); e["cause"] != nil || e["aborted"] != nil {
					t.Errorf("access log: %v", e)
				}
			}
		})
	}
}

// A slot is stalled when it sends nothing while we wait for it, not while its
// client keeps us waiting.
func TestASlowClientIsNotTheSlotsFault(t *testing.T) {
	const size = 16 << 20
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Answer(strings.Repeat("x", size))
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.StreamIdleTimeout = 100 * time.Millisecond })
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res := c.answer("GET")
	time.Sleep(500 * time.Millisecond) // the client is what is slow here
	if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v; access log: %v", n, err, f.entry(1))
	}
}

// What a slot says of its connection is heeded in both lanes: it may close it
// just when the next request arrives, which must not be sent again (P3).
func TestTheLimitThatASlotNamesIsKept(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for c.Head() != "" {
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=1\r\n\r\nok")
		}
	})
	f := startFront(t, slot.Addr())
	c := f.dial()
	c.get("/")
	c.get("/")
	if n := slot.Accepted(); n != 1 {
		t.Fatalf("%d connections for two requests in a row", n)
	}
	f.await("the connection to be given up", func() bool {
		p := &f.proxy.table.Load().routes["backend"].target.transport.(*transport).pool
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.idle) == 0
	})
}

// A bound that is taken back is gone for connections that are open, too.
func TestABoundThatIsTakenBackBoundsNoMore(t *testing.T) {
	const span = 100 * time.Millisecond
	slot := proxytest.Start(t, proxytest.KeepAlive("ok"))
	var o frontOptions
	f := startFront(t, slot.Addr(), slowClients(span), func(set *frontOptions) { o = *set })
	c := f.dial()
	c.get("/")
	o.service.ProgressTimeout = 0
	if _, err := f.proxy.Configure(o.settings, []Service{o.service}, map[string]string{"backend": "blue"}, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * span) // until the bound of the first answer is over
	c.get("/")
}
