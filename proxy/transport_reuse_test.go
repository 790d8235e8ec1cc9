package proxy

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
)

// awaitTrue polls, with a deadline, what another goroutine brings about.
func awaitTrue(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		<-time.After(time.Millisecond)
	}
}

// A connection is used again only after an exchange that left no doubt.
func TestConnectionsAreUsedAgainOnlyWhenClean(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct {
		name, method, wire string
		keep               bool
	}{
		{"a length that is met", "GET", ok, true},
		{"chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true},
		{"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", true},
		{"an answer to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", true},
		{"HTTP/1.0 that keeps alive", "GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", true},
		{"HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false},
		{"Connection: close", "GET", "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", false},
		{"bytes beyond the answer", "GET", ok + "HTTP/1.1 200 OK\r\n", false},
		{"a body with HEAD", "HEAD", ok, false},
		{"a body with 204", "GET", "HTTP/1.1 204 No Content\r\n\r\nok", false},
		{"a limit of no time", "GET", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				for c.Request() != nil {
					c.Say(tt.wire)
				}
			})
			rt := testTransport(t, slot.Addr())
			roundTrip(t, rt, newRequest(t, tt.method, nil))
			if kept := idleCount(rt) == 1; kept != tt.keep {
				t.Errorf("kept %v, want %v", kept, tt.keep)
			}
		})
	}
}

func TestAnswersThatWereNotReadEndTheirConnection(t *testing.T) {
	slot := proxytest.Start(t, proxytest.KeepAlive(strings.Repeat("x", 1<<16)))
	rt := testTransport(t, slot.Addr())
	res, err := rt.RoundTrip(newRequest(t, "GET", nil))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Read(make([]byte, 10)) //nolint:errcheck // some of it
	res.Body.Close()
	if idleCount(rt) != 0 {
		t.Error("kept with half an answer in it")
	}
	if _, err := res.Body.Read(make([]byte, 1)); err != http.ErrBodyReadAfterClose {
		t.Errorf("reading a closed body: %v", err)
	}
}

// The slot closes an idle connection, resets it or speaks up on it, just before
// the next request, which must not notice.
func TestStaleConnectionsLoseNoRequest(t *testing.T) {
	for name, spoil := range map[string]func(*proxytest.Conn){
		"closed":          func(c *proxytest.Conn) { c.Close() },
		"reset":           func(c *proxytest.Conn) { c.Reset() },
		"unasked answers": func(c *proxytest.Conn) { c.Say("HTTP/1.1 408 Request Timeout\r\n\r\n"); c.Hang() },
	} {
		t.Run(name, func(t *testing.T) {
			spoilNow := make(chan struct{})
			var posts atomic.Int64
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				for {
					req := c.Request()
					if req == nil {
						return
					}
					posts.Add(1)
					c.Answer("ok")
					if c.N == 1 {
						<-spoilNow
						spoil(c)
						return
					}
				}
			})
			rt := testTransport(t, slot.Addr())
			roundTrip(t, rt, newRequest(t, "POST", strings.NewReader("1")))
			close(spoilNow)
			awaitTrue(t, "the slot's end arrives", func() bool {
				rt.pool.mu.Lock()
				defer rt.pool.mu.Unlock()
				return !rt.pool.idle[0].quiet()
			})
			roundTrip(t, rt, newRequest(t, "POST", strings.NewReader("2")))
			if got, conns := posts.Load(), slot.Accepted(); got != 2 || conns != 2 {
				t.Errorf("the slot saw %d requests on %d connections, want 2 on 2", got, conns)
			}
		})
	}
}

// The timer may be late; the look is not.
func TestExpiredConnectionsAreNotUsed(t *testing.T) {
	slot := proxytest.Start(t, proxytest.KeepAlive("ok"))
	rt := testTransport(t, slot.Addr())
	roundTrip(t, rt, newRequest(t, "GET", nil))
	rt.pool.idle[0].expiry = time.Now()
	roundTrip(t, rt, newRequest(t, "GET", nil))
	if n := slot.Accepted(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// P3: what the slot may have seen is sent again only if it is safe, has no body
// and the reused connection ended before any byte of an answer.
func TestOnlySafeRequestsGoOutAgain(t *testing.T) {
	closes := func(c *proxytest.Conn) {}
	resets := func(c *proxytest.Conn) { c.Reset() }
	starts := func(c *proxytest.Conn) { c.Say("H") }
	informs := func(c *proxytest.Conn) { c.Say("HTTP/1.1 103 Early Hints\r\n\r\n") }
	for _, tt := range []struct {
		name, method, body string
		end                func(*proxytest.Conn)
		again              bool
	}{
		{"GET closed", "GET", "", closes, true},
		{"HEAD closed", "HEAD", "", closes, true},
		{"OPTIONS reset", "OPTIONS", "", resets, true},
		{"TRACE closed", "TRACE", "", closes, true},
		{"GET with a body", "GET", "x", closes, false},
		{"GET after a byte", "GET", "", starts, false},
		{"GET after a 103", "GET", "", informs, false},
		{"POST closed", "POST", "x", closes, false},
		{"POST reset", "POST", "x", resets, false},
		{"POST without a body", "POST", "", closes, false},
		{"PUT closed", "PUT", "x", closes, false},
		{"DELETE closed", "DELETE", "", closes, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen atomic.Int64
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				for n := 1; c.Request() != nil; n++ {
					seen.Add(1)
					if c.N == 1 && n == 2 {
						tt.end(c)
						return
					}
					c.Answer("")
				}
			})
			rt := testTransport(t, slot.Addr())
			roundTrip(t, rt, newRequest(t, "GET", nil))
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			req := newRequest(t, tt.method, body)
			req.Header.Set("Idempotency-Key", "1")
			res, err := rt.RoundTrip(req)
			if err == nil {
				res.Body.Close()
			}
			requests, conns := int64(2), 1
			if tt.again {
				requests, conns = 3, 2
			}
			if got := seen.Load(); got != requests || slot.Accepted() != conns || (err == nil) != tt.again {
				t.Errorf("%d requests on %d connections, error %v; want %d on %d", got, slot.Accepted(), err, requests, conns)
			}
		})
	}
}

// A fresh connection that ends is the slot's fault, not a stale connection.
func TestFreshConnectionsThatEndAreNotTriedAgain(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) { c.Request() })
	_, err := testTransport(t, slot.Addr()).RoundTrip(newRequest(t, "GET", nil))
	if causeOf(err) != causeClosed || slot.Accepted() != 1 {
		t.Errorf("cause %q after %d connections, want %q after 1", causeOf(err), slot.Accepted(), causeClosed)
	}
}

// deafConn fails every write before its first byte.
type deafConn struct{ net.Conn }

func (deafConn) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// P3: a request of which nothing was written goes to another connection with
// its whole body, whatever its method.
func TestRequestsThatWereNeverWrittenGoOutWhole(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for {
			req := c.Request()
			if req == nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			c.Answer(string(body))
		}
	})
	for _, size := range []int{0, 1, smallBody, smallBody + 1, 1 << 20} {
		for _, hide := range []bool{false, true} {
			rt := testTransport(t, slot.Addr())
			roundTrip(t, rt, newRequest(t, "GET", nil))
			rt.pool.idle[0].Conn = deafConn{rt.pool.idle[0].Conn}
			want := strings.Repeat("x", size)
			var body io.Reader = strings.NewReader(want)
			if hide {
				body = unsized{body}
			}
			if _, got := roundTrip(t, rt, newRequest(t, "POST", body)); got != want {
				t.Errorf("%d bytes, unsized %v: %d arrived", size, hide, len(got))
			}
		}
	}
}

func TestTheYoungestConnectionIsUsedFirst(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for c.Request() != nil {
			c.Answer(string(rune('0' + c.N)))
		}
	})
	rt := testTransport(t, slot.Addr(), func(s *Service) { s.MaxIdleSlotConns = 2 })
	var open []*http.Response
	for range 3 {
		res, err := rt.RoundTrip(newRequest(t, "GET", nil))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, res)
	}
	for _, res := range open {
		io.Copy(io.Discard, res.Body) //nolint:errcheck // the body is one byte
	}
	if n := idleCount(rt); n != 2 {
		t.Fatalf("%d idle connections, want the 2 that are allowed", n)
	}
	for range 3 {
		if _, body := roundTrip(t, rt, newRequest(t, "GET", nil)); body != "2" {
			t.Errorf("connection %s was used, want 2", body)
		}
	}
}

func TestRetiringClosesIdleConnectionsAtOnceAndBusyOnesOnRelease(t *testing.T) {
	gone := make(chan int, 2)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for c.Request() != nil {
			c.Answer("ok")
		}
		gone <- c.N
	})
	rt := testTransport(t, slot.Addr())
	busy, err := rt.RoundTrip(newRequest(t, "GET", nil))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, rt, newRequest(t, "GET", nil))
	rt.Retire()
	if n := <-gone; n != 2 {
		t.Errorf("connection %d closed first, want the idle one", n)
	}
	if body, err := io.ReadAll(busy.Body); err != nil || string(body) != "ok" {
		t.Errorf("the busy one got %q, %v", body, err)
	}
	if n := <-gone; n != 1 {
		t.Errorf("connection %d closed, want the busy one", n)
	}
	// A claim that is still held may go on using a retired target (P1).
	roundTrip(t, rt, newRequest(t, "GET", nil))
	if n := <-gone; n != 3 || idleCount(rt) != 0 {
		t.Errorf("connection %d closed and %d are kept, want 3 and none", n, idleCount(rt))
	}
}

func TestNamedIdleLimit(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  time.Duration
	}{
		{nil, -1},
		{[]string{"timeout=5"}, 4 * time.Second},
		{[]string{"timeout=5, max=100"}, 4 * time.Second},
		{[]string{"max=3", " Timeout = \"75\" "}, 74 * time.Second},
		{[]string{"timeout=2"}, time.Second},
		{[]string{"timeout=1"}, time.Second / 2},
		{[]string{"timeout=0"}, 0},
		{[]string{"timeout=-1"}, -1},
		{[]string{"timeout=99999999999999999999"}, -1},
		{[]string{"timeout="}, -1},
		{[]string{"x=timeout=5"}, -1},
	} {
		if got := namedIdleLimit(http.Header{"Keep-Alive": tt.lines}); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.lines, got, tt.want)
		}
	}
}

// pipeConn is a connection for the pool that needs no socket.
func pipeConn(heardAt time.Time, named time.Duration) (*slotConn, net.Conn) {
	ours, theirs := net.Pipe()
	return &slotConn{Conn: ours, heardAt: heardAt, named: named}, theirs
}

func TestIdleConnectionsEndWithTheirLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool{idleLimit: 4 * time.Second}
		start := time.Now()
		ends := map[string]time.Duration{}
		for name, c := range map[string]struct {
			heard time.Time
			named time.Duration
		}{
			"of the service": {start, -1},
			"of the slot":    {start, 9 * time.Second},
			"half a second":  {start, time.Second / 2},
			"slow to read":   {start.Add(-3 * time.Second), -1},
		} {
			conn, slot := pipeConn(c.heard, c.named)
			p.put(conn, time.Now())
			go func() {
				slot.Read(make([]byte, 1)) //nolint:errcheck // it ends
				p.mu.Lock()
				defer p.mu.Unlock()
				ends[name] = time.Since(start)
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		want := map[string]time.Duration{
			"of the service": 4 * time.Second, "of the slot": 9 * time.Second,
			"half a second": time.Second / 2, "slow to read": time.Second,
		}
		if diff := cmp.Diff(want, ends); diff != "" {
			t.Errorf("closed after (-want +got):\n%s", diff)
		}
		if p.timer != nil || len(p.idle) != 0 {
			t.Error("an empty pool keeps a timer or a connection")
		}
	})
}

func TestConnectionsThatWereQuietForTooLongAreNotKept(t *testing.T) {
	p := pool{idleLimit: 4 * time.Second}
	conn, slot := pipeConn(time.Now().Add(-5*time.Second), -1)
	p.put(conn, time.Now())
	if _, err := slot.Read(make([]byte, 1)); err != io.EOF || len(p.idle) != 0 {
		t.Error("it was kept")
	}
}
