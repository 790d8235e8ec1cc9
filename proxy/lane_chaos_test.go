package proxy

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// Whatever clients and slots do to each other, no claim, stream or connection is
// left, and the server stops in time.
func TestNothingIsLeftBehindWhereBothSidesMisbehave(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for mishear(c, rand.IntN(5)) {
			misanswer(c, rand.IntN(10))
		}
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) {
		o.park, o.service.ResponseHeaderTimeout, o.service.StreamIdleTimeout = time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
		o.service.HalfCloseGrace = 20 * time.Millisecond
		o.server.MaxConns = 20
	})
	requests := oddRequests()
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 25 {
				misbehave(f.addr, requests[rand.IntN(len(requests))])
			}
		})
	}
	clients.Wait()
	f.await("every claim to be released", func() bool { s := f.stats(); return s.InFlight == 0 && s.Streams == 0 })
	if n := openNow(&f.proxy.stats[slotKey{"backend", "blue"}].open); n != 0 {
		t.Errorf("%d requests are still counted by age", n)
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}

// mishear reads a request, or as little of it that the answer overtakes the rest.
func mishear(c *proxytest.Conn, how int) bool {
	switch how {
	case 0:
		return c.Head() != ""
	case 1:
		head := c.Head()
		io.CopyN(io.Discard, c, 2) //nolint:errcheck // there may be no body
		return head != ""
	}
	return c.Request() != nil
}

func misanswer(c *proxytest.Conn, how int) {
	switch how {
	case 0:
		c.Reset()
	case 1:
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		c.Close()
	case 2:
		c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz")
	case 3:
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb")
	case 4:
		c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: a\n\n")
		c.Pause(time.Duration(rand.IntN(100)) * time.Millisecond)
		c.Close()
	case 5:
		c.Say("HTTP/1.1 204 No Content\r\n\r\nbody")
	case 6:
		c.Say("garbage\r\n\r\n")
	case 7:
		c.Say("HTTP/1.1 103 Early Hints\r\n\r\n")
		c.Answer("ok")
	default:
		c.Answer("ok")
	}
}

func oddRequests() []string {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	large, spliced := uploads(100_000), uploads(2 * spliceFrom)["sized"]
	return []string{
		get, get + get + get, "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na\r\n" + get, get + "\x00\x01", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get,
		chunkedPost + "1\r\na\r\n", chunkedPost + "1\r\na\r\n0\r\nX: y\r\n\r\n" + get, chunkedPost + "5\r\nhello\r\n5\r\nhello and more",
		large["in chunks"] + get, large["sized"] + get, spliced[:spliceFrom], spliced,
	}
}

func misbehave(addr, request string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(200 * time.Millisecond)) //nolint:errcheck // the read tells
	cut := rand.IntN(len(request))
	io.WriteString(c, request[:cut]) //nolint:errcheck // the read tells
	io.WriteString(c, request[cut:]) //nolint:errcheck // the read tells
	switch rand.IntN(4) {
	case 0:
		c.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it is a socket
	case 1:
		c.(*net.TCPConn).CloseWrite() //nolint:errcheck // it is a socket
		io.Copy(io.Discard, c)        //nolint:errcheck // whatever comes
	default:
		io.Copy(io.Discard, c) //nolint:errcheck // whatever comes
	}
}
