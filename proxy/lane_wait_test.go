package proxy

import (
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// unparked is a lane whose connections are never parked, which would find what
// was forgotten.
func unparked(o *frontOptions) {
	o.lane, o.park, o.server.IdleTimeout = laneFast, time.Hour, time.Hour
}

// A wait that begins without a look at the socket would forget it.
func TestWhatComesWhileARequestIsAnsweredIsNotForgotten(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, tt := range map[string]struct {
		with, during string
		end, answers int
	}{
		"a request":                     {"", request, 0, 2},
		"a request that came with it":   {request, "", 0, 2},
		"half of one that came with it": {request[:9], request[9:], 0, 2},
		"the end":                       {"", "", 2, 1},
		"the end that came with it":     {"", "", 1, 1},
		"a request and the end":         {"", request, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			asked, answer := make(chan bool, 2), make(chan bool, 2)
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				for c.Head() != "" {
					asked <- true
					<-answer
					c.Answer("ok")
				}
			})
			t.Cleanup(func() { close(answer) }) // before the slot ends, whatever happened
			c := startFront(t, slot.Addr(), unparked).dial()
			closeWrite := c.Conn.(interface{ CloseWrite() error }).CloseWrite
			c.say(request + tt.with)
			if tt.end == 1 {
				closeWrite() //nolint:errcheck // the end tells
			}
			<-asked
			if tt.during != "" {
				c.say(tt.during)
			}
			if tt.end == 2 {
				closeWrite() //nolint:errcheck // the end tells
			}
			for range tt.answers {
				answer <- true
				if res, body := c.whole("GET"); res.StatusCode != 200 || body != "ok" {
					t.Fatalf("%s with %q", res.Status, body)
				}
			}
			if tt.end > 0 {
				c.ended()
			}
		})
	}
}

// The look before a connection is used again is part of sending.
func TestAStaleConnectionIsLeftByTheFastLane(t *testing.T) {
	for name, spoil := range map[string]func(*proxytest.Conn){
		"closed":          func(c *proxytest.Conn) { c.Close() },
		"half closed":     func(c *proxytest.Conn) { c.CloseWrite(); c.Hang() },
		"reset":           func(c *proxytest.Conn) { c.Reset() },
		"unasked answers": func(c *proxytest.Conn) { c.Say("HTTP/1.1 408 Request Timeout\r\n\r\n"); c.Hang() },
	} {
		for body, request := range map[string]string{
			"":                    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
			" with a slow upload": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
		} {
			t.Run(name+body, func(t *testing.T) {
				spoilNow := make(chan bool)
				var posts atomic.Int64
				slot := proxytest.Start(t, func(c *proxytest.Conn) {
					for c.Request() != nil {
						posts.Add(1)
						c.Answer("ok")
						if c.N == 1 {
							<-spoilNow
							spoil(c)
							return
						}
					}
				})
				f := startFront(t, slot.Addr(), unparked)
				c := f.dial()
				c.get("/")
				close(spoilNow)
				f.await("the slot's end to arrive", func() bool {
					p := &f.proxy.table.Load().routes["backend"].target.transport.(*transport).pool
					p.mu.Lock()
					defer p.mu.Unlock()
					return len(p.idle) == 1 && !p.idle[0].quiet()
				})
				c.say(request)
				if body != "" {
					f.await("the request to be under way", func() bool { return f.stats().InFlight == 1 })
					c.say("12345")
				}
				if res, got := c.whole("POST"); res.StatusCode != 200 || got != "ok" {
					t.Errorf("%s with %q", res.Status, got)
				}
				if got, conns := posts.Load(), slot.Accepted(); got != 2 || conns != 2 {
					t.Errorf("the slot saw %d requests on %d connections, want 2 on 2", got, conns)
				}
			})
		}
	}
}
