package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"golang.org/x/sys/unix"
)

// heirOf is a second server, before a slot of its own, to which the first passes
// its connections on.
func heirOf(t *testing.T, f *front, slot string, change ...func(*frontOptions)) (heir *front, passed *atomic.Int64) {
	t.Helper()
	heir, passed = startFront(t, slot, change...), new(atomic.Int64)
	f.server.PassOn(func(fd int, read []byte) error {
		own, err := unix.Dup(fd)
		if err != nil {
			return err
		}
		file := os.NewFile(uintptr(own), "passed")
		defer file.Close()
		c, err := net.FileConn(file)
		if err != nil {
			return err
		}
		passed.Add(1)
		return heir.server.Adopt(c, append([]byte(nil), read...))
	})
	return heir, passed
}

// named is a slot that says who it is.
func named(t *testing.T, name string) string {
	return startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client tells
		io.WriteString(w, name)     //nolint:errcheck // the client tells
	})
}

func (c *rawClient) keepsAnswer(method, want string) {
	c.t.Helper()
	res, body := c.whole(method)
	if res.StatusCode != http.StatusOK || body != want || res.Close {
		c.t.Errorf("%s, %q, close: %v; want %q", res.Status, body, res.Close, want)
	}
}

// notPlain is a request that the fast lane leaves to the standard lane.
var notPlain = "POST / HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("x", laneIn) + "\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

func TestAStoppingServerPassesItsConnectionsOn(t *testing.T) {
	for name, park := range map[string]time.Duration{"idle": time.Minute, "parked": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, named(t, "old"), longStop, func(o *frontOptions) { o.park = park })
			_, passed := heirOf(t, f, named(t, "new"))
			fresh, plain, standard, begun := f.dial(), f.dial(), f.dial(), f.dial()
			if got := plain.get("/"); got != "old" {
				t.Errorf("%q answers before the stop", got)
			}
			standard.say(notPlain)
			standard.keepsAnswer("POST", "old")
			if *laneFlag == laneFast { // net/http does not give back what it has read
				begun.say("GET / HTTP/1.1\r\nHo")
				f.await("half a head to be read", func() bool {
					return f.anyConn(func(c *clientConn) bool { return connPhase(c.phase.Load()) == phaseHead })
				})
			}
			f.await("the first connection to be accepted", func() bool { return f.accepted() == 4 })
			if park < time.Second && *laneFlag == laneFast {
				f.await("a connection to be parked", func() bool { return f.parkedConns() > 0 })
			}
			f.ends(f.stopping(), patience)
			if got := passed.Load(); got < 3 {
				t.Errorf("%d connections were passed on", got)
			}
			if *laneFlag == laneFast {
				begun.say("st: a\r\n\r\n")
				begun.keepsAnswer("GET", "new")
			}
			for range 2 {
				for _, c := range []*rawClient{fresh, plain, standard} {
					c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
					c.keepsAnswer("GET", "new")
					c.say(notPlain)
					c.keepsAnswer("POST", "new")
				}
			}
		})
	}
}

func (f *front) accepted() (n int) {
	f.conns.Range(func(any, any) bool { n++; return true })
	return n
}

func (f *front) parkedConns() int {
	p := f.server.runs.Load().parking
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.places)
}

// Its head could not say that the connection would end, and it does not.
func TestABusyConnectionIsPassedOnAfterItsAnswer(t *testing.T) {
	for _, how := range []string{"fast", "standard"} {
		t.Run(how, func(t *testing.T) {
			finish := make(chan struct{})
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlo")
				<-finish
				c.Say("ng")
				c.Hang()
			})
			f := startFront(t, slot.Addr(), longStop, func(o *frontOptions) { o.lane = how })
			heirOf(t, f, named(t, "new"))
			c := f.dial()
			c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			res := c.answer("GET")
			ended := f.stopping()
			f.await("the server to stop", f.server.runs.Load().isStopping)
			close(finish)
			if b, err := io.ReadAll(res.Body); string(b) != "long" || err != nil || res.Close {
				t.Errorf("%q, %v, close: %v", b, err, res.Close)
			}
			f.ends(ended, patience)
			c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			c.keepsAnswer("GET", "new")
		})
	}
}

// What a client sent ahead must be answered by who has read it, or go along.
func TestRequestsSentAheadAreAnsweredInOrderAcrossTheStop(t *testing.T) {
	for _, how := range []string{"fast", "standard"} {
		t.Run(how, func(t *testing.T) {
			finish, arrived := make(chan struct{}), make(chan struct{}, 10)
			slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				<-finish
				io.WriteString(w, r.URL.Path) //nolint:errcheck // the client tells
			})
			f := startFront(t, slot, longStop, func(o *frontOptions) { o.lane = how })
			heirOf(t, f, slot)
			c := f.dial()
			c.say("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
			<-arrived
			ended := f.stopping()
			f.await("the server to stop", f.server.runs.Load().isStopping)
			close(finish)
			for _, want := range []string{"/1", "/2", "/3"} {
				c.keepsAnswer("GET", want)
			}
			f.ends(ended, patience)
			c.say("GET /4 HTTP/1.1\r\nHost: a\r\n\r\n")
			c.keepsAnswer("GET", "/4")
		})
	}
}

// TestNoRequestIsLostWhenAServerIsReplacedUnderLoad has clients whose requests
// cross the stop at every moment.
func TestNoRequestIsLostWhenAServerIsReplacedUnderLoad(t *testing.T) {
	for round := range 20 {
		f := startFront(t, named(t, "old"), longStop, func(o *frontOptions) { o.park = time.Millisecond })
		heir, _ := heirOf(t, f, named(t, "new"))
		over, clients := make(chan struct{}), sync.WaitGroup{}
		news := atomic.Int64{}
		for n := range 16 {
			c := f.dial()
			clients.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-over:
						return
					default:
					}
					if err := c.ask(n+i, &news); err != nil {
						t.Errorf("round %d: %v", round, err)
						return
					}
				}
			})
		}
		// The queue of a listener that nobody shares ends with it.
		f.await("all connections", func() bool { return f.accepted() == 16 })
		f.await("requests", func() bool { return f.stats().Total() > 200 })
		f.ends(f.stopping(), patience)
		f.await("requests to the heir", func() bool { return heir.stats().Total() > 100 || t.Failed() })
		close(over)
		clients.Wait()
		if news.Load() == 0 {
			t.Error("the heir has answered nothing")
		}
	}
}

// ask sends one request, of a kind that n chooses.
func (c *rawClient) ask(n int, news *atomic.Int64) error {
	message, method := "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET"
	if n%7 == 0 {
		message, method = notPlain, "POST"
	} else if n%2 == 0 {
		message, method = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST"
	}
	if _, err := io.WriteString(c.Conn, message); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || res.Close {
		return fmt.Errorf("%s: %s, %q, close: %v, %w", method, res.Status, body, res.Close, err)
	}
	if string(body) == "new" {
		news.Add(1)
	}
	return nil
}

// Whoever was taken over without a place must not leave one that is another's.
func TestAConnectionTooManyFreesNoPlaceWhenItEnds(t *testing.T) {
	s := newServing(NewServer(ServerOptions{MaxConns: 1}), nil)
	var last net.Conn
	for want := range 2 { // the first one to be adopted has the only place
		ours, theirs := net.Pipe()
		last = ours
		defer theirs.Close()
		if err := s.adopt(ours, nil); err != nil {
			t.Fatal(err)
		}
		if n := len(s.list()); n != want+1 || len(s.room) != 1 {
			t.Fatalf("%d connections, %d places taken", n, len(s.room))
		}
	}
	for _, c := range s.list() {
		if c.Conn == last {
			c.Close()
		}
	}
	if len(s.room) != 1 {
		t.Error("the other's place is free")
	}
	s.list()[0].Close()
	if len(s.room) != 0 {
		t.Error("a place stays taken")
	}
	s.standard.Close()
	s.lanes.Wait()
}
