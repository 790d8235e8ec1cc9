package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"charactier-proxy/proxy/http1"

	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	benchRequest = "GET /api/characters?page=2 HTTP/1.1\r\nHost: charactier.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: application/json\r\nAccept-Language: ja,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://charactier.example/characters\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 203.0.113.7\r\nConnection: keep-alive\r\n\r\n"
	benchAnswer  = "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 27\r\nETag: W/\"1b-abcdef\"\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n{\"characters\":[],\"page\":2}\n"
)

// plainSlot answers every request, which must come in one piece, with the same.
func plainSlot(tb testing.TB, answer string) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var conns sync.WaitGroup
	var open sync.Map
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			conns.Go(func() {
				defer c.Close()
				b, answer := make([]byte, 16<<10), []byte(answer)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) {
						c.Write(answer) //nolint:errcheck // the next read tells
					}
				}
			})
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		conns.Wait()
	})
	return ln.Addr().String()
}

// BenchmarkLane measures a small request through the whole proxy, with the
// client and the slot in the same process.
func BenchmarkLane(b *testing.B) {
	f := startFront(b, plainSlot(b, benchAnswer), func(o *frontOptions) {
		o.settings.AccessLog, o.settings.TrustedPeers = nil, loopback()
	})
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		c := f.dial()
		in, request := make([]byte, 4<<10), []byte(benchRequest)
		for pb.Next() {
			c.Write(request) //nolint:errcheck // the next read tells
			if n, err := c.Read(in); err != nil || !bytes.HasPrefix(in[:n], []byte("HTTP/1.1 200")) {
				b.Errorf("%q, %v", in[:n], err)
				return
			}
		}
	})
}

// Behind nginx, which names the request, and before clients of its own.
func TestTheFastLaneAllocatesNothing(t *testing.T) {
	named := strings.Replace(benchRequest, "Connection:", "X-Request-Id: 0b5c7a52-8f0e-4ac4-9d13-7d3f1c7f2a10\r\nConnection:", 1)
	for name, peers := range map[string][]netip.Prefix{"trusted": loopback(), "untrusted": nil} {
		t.Run(name, func(t *testing.T) { allocatesNothing(t, []byte(named), peers) })
	}
	t.Run("in chunks", func(t *testing.T) { allocatesNothing(t, []byte(chunkedPost+"5\r\nhello\r\n0\r\n\r\n"), nil) })
}

func allocatesNothing(t *testing.T, request []byte, trusted []netip.Prefix) {
	f := startFront(t, plainSlot(t, benchAnswer), func(o *frontOptions) {
		o.settings.AccessLog, o.settings.TrustedPeers, o.lane = nil, trusted, laneFast
	})
	c := f.dial()
	in := make([]byte, 4<<10)
	n := testing.AllocsPerRun(1000, func() {
		c.Write(request) //nolint:errcheck // the read tells
		if _, err := c.Read(in); err != nil {
			t.Fatal(err)
		}
	})
	if n > poolMisses {
		t.Errorf("%v allocations for each request", n)
	}
}

// Of every connection the first request that is not plain decides, and what
// follows on it takes the same lane.
func TestWhatIsNotPlainTakesTheStandardLane(t *testing.T) {
	const plain = "GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n"
	const chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tt := range map[string]struct {
		request string
		lane    string
		answers int
	}{
		"plain":                 {plain, laneFast, 1},
		"with a small body":     {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", laneFast, 1},
		"HEAD":                  {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", laneFast, 1},
		"two at once":           {plain + plain, laneFast, 2},
		"in chunks":             {chunks + "1\r\na\r\n0\r\n\r\n" + plain, laneFast, 2},
		"in many chunks":        {chunks + strings.Repeat("3e8;a=b\r\n"+strings.Repeat("x", 1000)+"\r\n", 100) + "0\r\n\r\n" + plain, laneFast, 2},
		"with trailers":         {chunks + "1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n" + plain, laneFast, 2},
		"announcing trailers":   {"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n", laneStandard, 1},
		"in odd chunks":         {chunks + "1 \r\na\r\n0\r\n\r\n", laneStandard, 1},
		"with a large body":     {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000) + plain, laneFast, 2},
		"with a very large one": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("x", 2000000) + plain, laneFast, 2},
		"with a large head":     {"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("x", laneIn) + "\r\n\r\n", laneStandard, 1},
		"of HTTP/1.0":           {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", laneStandard, 1},
		"absolute":              {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", laneStandard, 1},
		"expecting":             {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\na", laneStandard, 1},
		"after another's empty": {"\r\n" + plain, laneStandard, 1},
		"an odd one":            {"GET / HTTP/1.1\r\nHost: a\r\nX_A: b\r\n\r\n" + plain, laneStandard, 2},
	} {
		t.Run(name, func(t *testing.T) {
			slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }) //nolint:errcheck // the test sees the answer
			f := startFront(t, slot, func(o *frontOptions) { o.lane = laneFast })
			c := f.dial()
			c.say(tt.request)
			method, _, _ := strings.Cut(tt.request, " ")
			for n := range tt.answers {
				if res, _ := c.whole(method); res.StatusCode != 200 && res.StatusCode != 100 {
					t.Errorf("%s", res.Status)
				}
				if e := f.entry(n + 1); e["lane"] != tt.lane {
					t.Errorf("request %d took the lane %v, want %s", n+1, e["lane"], tt.lane)
				}
			}
		})
	}
}

func TestAHeadInTwoPiecesIsAsPlainAsInOne(t *testing.T) {
	f := startFront(t, plainSlot(t, benchAnswer), func(o *frontOptions) { o.lane = laneFast })
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\nX-A: b")
	f.await("the first bytes to be read", func() bool { return unsent(t, c.Conn) == 0 })
	c.say("c\r\n\r\n")
	if res, _ := c.whole("GET"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	if e := f.entry(1); e["lane"] != laneFast {
		t.Errorf("a head in two pieces took the lane %v", e["lane"])
	}
}

func TestBothLanesKnowTheSameClaims(t *testing.T) {
	names := []string{"X-Forwarded-Anything", "X-Original-Url", "Accept", "X-Forwarder", "X-Originals", "Host", "Cookie"}
	for name := range claimedFields {
		names = append(names, name)
	}
	for _, name := range append(names, forwardedForField, forwardedHostField, forwardedProtoField) {
		var r http1.Request
		head := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.ToLower(name) + ": b\r\n\r\n"
		if name == "Host" {
			head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		}
		if n, err := r.Parse([]byte(head)); n == 0 || err != nil {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
		if got := r.Seen()&claimedByPeers != 0; got != claims(name) {
			t.Errorf("%s: a claim to the fast lane: %v, to the standard lane: %v", name, got, claims(name))
		}
	}
}

func TestAnIdleConnectionNeedsNoGoroutine(t *testing.T) {
	f := startFront(t, plainSlot(t, benchAnswer), func(o *frontOptions) { o.lane, o.park = laneFast, time.Millisecond })
	const conns = 100
	clients := make([]*rawClient, conns)
	ask := func() {
		for _, c := range clients {
			c.say(benchRequest)
			if res, _ := c.whole("GET"); res.StatusCode != 200 {
				t.Fatal(res.Status)
			}
		}
	}
	for i := range clients {
		clients[i] = f.dial()
	}
	for range 3 { // and back from there
		ask()
		f.await("all connections to be parked", func() bool {
			return !strings.Contains(stacks(), ".serveLane") && !strings.Contains(stacks(), ".resumeLane")
		})
	}
	ask()
}

// stacks are those of all goroutines.
func stacks() string {
	b := make([]byte, 4<<20)
	return string(b[:runtime.Stack(b, true)])
}

func TestAParkedConnectionIsClosedWhenItsTimeIsOver(t *testing.T) {
	f := startFront(t, plainSlot(t, benchAnswer), func(o *frontOptions) {
		o.lane, o.park, o.server.IdleTimeout = laneFast, time.Millisecond, 50*time.Millisecond
	})
	for range 3 {
		c := f.dial()
		c.say(benchRequest)
		c.whole("GET")
		c.ended()
	}
}

func TestAParkedConnectionIsClosedWhenTheServerStops(t *testing.T) {
	f := startFront(t, plainSlot(t, benchAnswer), func(o *frontOptions) { o.lane, o.park = laneFast, time.Millisecond })
	c := f.dial()
	c.say(benchRequest)
	c.whole("GET")
	f.await("it to be parked", func() bool { return !strings.Contains(stacks(), ".serveLane") })
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	c.ended()
}

func TestAPanicCostsOneConnectionOnly(t *testing.T) {
	var panics atomic.Bool
	var lane atomic.Pointer[Lane]
	f := startFront(t, plainSlot(t, benchAnswer), func(o *frontOptions) {
		o.lane, o.server.Lane = laneStandard, lane.Load
	})
	lane.Store(f.proxy.Lane("backend", func([]byte) bool {
		if panics.Load() {
			panic("a mistake")
		}
		return false
	}))
	c, other := f.dial(), f.dial()
	other.get("/")
	panics.Store(true)
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.ended()
	panics.Store(false)
	other.get("/")
	if err := f.stop(); err != nil {
		t.Error(err)
	}
}
