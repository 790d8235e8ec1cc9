package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// comeUp has a slot listen where nobody did.
func comeUp(t *testing.T, network, address string, h http.HandlerFunc) {
	t.Helper()
	ln, err := net.Listen(network, strings.TrimPrefix(address, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	serveHandler(t, ln, h)
}

// startDown runs a proxy before a slot that takes no connections yet.
func startDown(t *testing.T, change ...func(*frontOptions)) *front {
	t.Helper()
	bounded := func(o *frontOptions) { o.service.HoldTime = patience }
	return startFront(t, proxytest.Refused(t), append([]func(*frontOptions){bounded}, change...)...)
}

func (f *front) address() string {
	return f.proxy.table.Load().routes["backend"].service.Slots["blue"]
}

func (f *front) awaitWaiting(n int64) {
	f.t.Helper()
	f.await("requests to wait", func() bool { return f.proxy.Waiting("backend") == n })
}

const helloPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"

// Nothing of a request was sent that found nobody, so it waits and is served when
// the slot is there. In the fast lane its connection stays there.
func TestARequestWaitsForASlotThatRefuses(t *testing.T) {
	f := startDown(t)
	c, second := f.dial(), f.dial()
	c.say(helloPost)
	f.awaitWaiting(1)
	second.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
	f.awaitWaiting(2)
	if o, lasts := f.proxy.Outage("backend"); !lasts || o.Slot != "blue" || o.Waiting != 2 || o.Err == nil {
		t.Errorf("%+v, lasts %v", o, lasts)
	}
	if s := f.stats(); s.InFlight != 0 || s.Unreached != 2 || s.Errors != 0 {
		t.Errorf("while they wait: %+v", s)
	}
	comeUp(t, "tcp", f.address(), echo)
	if res, body := c.whole("POST"); res.StatusCode != 200 || body != "hello" {
		t.Errorf("%s %q", res.Status, body)
	}
	second.say("llo")
	if res, body := second.whole("POST"); res.StatusCode != 200 || body != "hello" {
		t.Errorf("%s %q", res.Status, body)
	}
	c.say(helloPost)
	if res, _ := c.whole("POST"); res.StatusCode != 200 {
		t.Errorf("the next on its connection: %s", res.Status)
	}
	held := 0
	for n := range 3 { // in the order in which they happened to end
		e := f.entry(n + 1)
		if e["held"] != nil {
			held++
		}
		if e["lane"] != *laneFlag {
			t.Errorf("access log: %v", e)
		}
	}
	if held != 2 {
		t.Errorf("the access log tells of %d requests that waited", held)
	}
	if s := f.stats(); s.InFlight != 0 || s.Requests[2] != 3 || s.Errors != 0 {
		t.Errorf("in the end: %+v", s)
	}
}

func TestBodiesOfAnyKindWaitWithTheirRequests(t *testing.T) {
	for _, protocol := range []Protocol{HTTP1, H2C} {
		t.Run(string(protocol), func(t *testing.T) {
			f := startDown(t, func(o *frontOptions) { o.service.Protocol = protocol })
			body := strings.Repeat("0123456789", 100_000)
			var answers []chan string
			for _, http2 := range []bool{false, true} {
				for _, sized := range []bool{true, false} {
					for _, body := range []string{body, "small"} {
						answer := make(chan string, 1)
						answers = append(answers, answer)
						client := newClient(t, http2)
						go func() {
							if got := post(t, client, f.addr, body, sized); got != body {
								answer <- got
							}
							close(answer)
						}()
					}
				}
			}
			f.awaitWaiting(int64(len(answers)))
			comeUp(t, "tcp", f.address(), echo)
			for _, answer := range answers {
				for got := range answer {
					t.Errorf("%d bytes came back: %.80s", len(got), got)
				}
			}
		})
	}
}

func TestARequestWaitsForAUnixSocket(t *testing.T) {
	f := startDown(t, func(o *frontOptions) { o.service.Slots["blue"] = "unix:" + filepath.Join(t.TempDir(), "s") })
	c := f.dial()
	c.say(helloPost)
	f.awaitWaiting(1)
	comeUp(t, "unix", f.address(), echo)
	if res, body := c.whole("POST"); res.StatusCode != 200 || body != "hello" {
		t.Errorf("%s %q", res.Status, body)
	}
}

func TestARequestWaitsForASlotThatDoesNotAnswerAConnect(t *testing.T) {
	green := proxytest.Start(t, proxytest.KeepAlive("green"))
	f := startFront(t, proxytest.Unanswered(t), func(o *frontOptions) {
		o.service.ConnectTimeout, o.service.HoldTime, o.service.Slots["green"] = soon, patience, green.Addr()
	})
	c := f.dial()
	c.say(helloPost)
	f.awaitWaiting(1)
	mustSwap(t, f.proxy, map[string]string{"backend": "green"})
	if _, body := c.whole("POST"); body != "green" {
		t.Errorf("answered by %s", body)
	}
}

func TestAHandshakeWaitsForASlotThatRefuses(t *testing.T) {
	f := startDown(t)
	c := f.dial()
	c.say(handshake)
	f.awaitWaiting(1)
	comeUp(t, "tcp", f.address(), func(w http.ResponseWriter, _ *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		io.WriteString(nc, switching101+"hello") //nolint:errcheck // the client tells
	})
	if head := c.lines(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("the answer is\n%s", head)
	}
	c.expect("hello")
}

// P1, P2: a request that waits has no claim, so a drain does not wait for it, and
// it goes to the new target at once.
func TestASwapMovesThoseWhoWaitForASlot(t *testing.T) {
	green := proxytest.Start(t, proxytest.KeepAlive("green"))
	f := startDown(t, func(o *frontOptions) { o.service.Slots["green"] = green.Addr() })
	var clients []*rawClient
	for range 3 * firstLot {
		c := f.dial()
		c.say(helloPost)
		clients = append(clients, c)
	}
	f.awaitWaiting(int64(len(clients)))
	counts, err := mustSwap(t, f.proxy, map[string]string{"backend": "green"}).Drain(t.Context())
	if err != nil || counts[0].Moved != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
	for _, c := range clients {
		if _, body := c.whole("POST"); body != "green" {
			t.Errorf("answered by %s", body)
		}
	}
	if _, lasts := f.proxy.Outage("backend"); lasts || f.proxy.Waiting("backend") != 0 {
		t.Error("the outage of the old slot goes on")
	}
}

func TestAClientThatLeavesWhileItsSlotIsDownLeavesNothingBehind(t *testing.T) {
	f := startDown(t)
	for n, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", helloPost,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\nhello",
	} {
		for _, end := range []func(*rawClient){func(c *rawClient) { c.Close() }, (*rawClient).closeWrite} {
			c := f.dial()
			c.say(request)
			f.awaitWaiting(1)
			end(c)
			f.awaitWaiting(0)
		}
		if e := f.entry(2*n + 1); e["caused_by"] != "client" {
			t.Errorf("access log: %v", e)
		}
	}
}

func TestOverTheBoundsOfADownSlotRequestsAreTurnedAway(t *testing.T) {
	f := startDown(t, func(o *frontOptions) { o.service.HoldRequests, o.service.HoldTime = 1, 2*time.Second })
	waiting, c := f.dial(), f.dial()
	waiting.say(helloPost)
	f.awaitWaiting(1)
	for _, tt := range []struct {
		c    *rawClient
		want string
	}{{c, "slot-down-hold-full"}, {waiting, "slot-down-too-long"}} {
		if tt.c == c {
			c.say(helloPost)
		}
		res, _ := tt.c.whole("POST")
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get(errorCauseField) != tt.want {
			t.Errorf("%s %v", res.Status, res.Header)
		}
	}
	f.entry(2)
	if s := f.stats(); s.Faults != 2 || s.Unreached != 0 || s.Requests[5] != 2 || s.Judged() != 2 || s.Latency.Count() != 0 {
		t.Errorf("%+v", s)
	}
}

// A stop cuts those who wait in vain, and tells them why.
func TestAStopEndsTheWaitForASlot(t *testing.T) {
	f := startDown(t, func(o *frontOptions) { o.server.ShutdownTimeout = soon })
	c := f.dial()
	c.say(helloPost)
	f.awaitWaiting(1)
	if err := f.stop(); err == nil {
		t.Error("the cut request was not told of")
	}
	if res, _ := c.whole("POST"); res.StatusCode != 503 || res.Header.Get(errorCauseField) != "shutting-down" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}

func TestAnOutageIsToldOnceWithItsBeginAndEnd(t *testing.T) {
	var mu sync.Mutex
	var told []Outage
	f := startDown(t)
	f.proxy.opts.OnOutage = func(o Outage) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, o)
	}
	s := *f.proxy.table.Load().routes["backend"].service
	s.MaxBodyBytes = 1 << 20 // so that it gets a target that tells
	mustConfigure(t, f.proxy, []Service{s}, map[string]string{"backend": "blue"}, nil)
	var clients []*rawClient
	for range 20 {
		c := f.dial()
		c.say(helloPost)
		clients = append(clients, c)
	}
	f.awaitWaiting(20)
	comeUp(t, "tcp", f.address(), echo)
	for _, c := range clients {
		c.whole("POST")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 2 || !told[0].Until.IsZero() || told[1].Until.IsZero() || told[1].Waited != 20 || told[1].Longest <= 0 {
		t.Errorf("told %+v", told)
	}
}

// Whoever probes the slot anyway may let the requests go.
func TestAProbeThatReachesASlotEndsItsOutage(t *testing.T) {
	f := startDown(t)
	c := f.dial()
	c.say(helloPost)
	f.awaitWaiting(1)
	comeUp(t, "tcp", f.address(), echo)
	f.proxy.Reached("backend", "green")
	f.proxy.Reached("backend", "blue")
	if res, _ := c.whole("POST"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
}

// A slot that is gone again after each answer costs nobody his request.
func TestASlotThatComesAndGoesLosesNothing(t *testing.T) {
	const rounds = 20
	f := startDown(t)
	c := f.dial()
	for range rounds {
		c.say(helloPost)
		f.awaitWaiting(1)
		answerOnce(t, f.address())
		if res, _ := c.whole("POST"); res.StatusCode != 200 {
			t.Fatalf("%s %v", res.Status, res.Header)
		}
	}
	f.await("all to be accounted for", func() bool { return f.stats().InFlight == 0 })
	if s := f.stats(); s.Unreached != rounds || s.Requests[2] != rounds {
		t.Errorf("%d did not reach the slot, %v were answered", s.Unreached, s.Requests)
	}
}

// answerOnce is a slot that takes connections until one of them brings a request,
// and answers that.
func answerOnce(t *testing.T, address string) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var nc net.Conn
	var r *http.Request
	for r == nil {
		if nc, err = ln.Accept(); err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		r, _ = http.ReadRequest(bufio.NewReader(nc)) // some only try whether somebody is there
	}
	ln.Close()
	io.Copy(io.Discard, r.Body)                                                             //nolint:errcheck // the client tells
	io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") //nolint:errcheck // the client tells
}

// fakeWay hands a request back unsent, as often as it is told to, with what it
// has read of its body.
type fakeWay struct{ unsent atomic.Int64 }

func (w *fakeWay) Retire()                       {}
func (w *fakeWay) Pause(bool)                    {}
func (w *fakeWay) Connect(context.Context) error { return nil }

func (w *fakeWay) RoundTrip(r *http.Request) (*http.Response, error) {
	fault := &slotError{cause: causeReset, op: "sending", err: errors.New("broken")}
	if w.unsent.Add(-1) >= 0 {
		part := make([]byte, 2)
		n, err := io.ReadFull(r.Body, part)
		if err != nil {
			return nil, err
		}
		return nil, &unsentError{fault, part[:n]}
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(b))), Header: http.Header{}, Request: r}, nil
}

// What was read of a body before its connection broke unsent is not lost.
func TestAnUnsentRequestKeepsWhatWasReadOfItsBody(t *testing.T) {
	f := startDown(t, func(o *frontOptions) { o.lane = laneStandard })
	way, old := &fakeWay{}, f.proxy.table.Load()
	way.unsent.Store(2)
	r := *old.routes["backend"]
	r.target = newTarget(r.service, "blue", way, r.target.stats, nil)
	f.proxy.table.Store(&table{settings: old.settings, routes: map[string]*route{"backend": &r}})
	c := f.dial()
	c.say(helloPost)
	if res, body := c.whole("POST"); res.StatusCode != 200 || body != "hello" {
		t.Errorf("%s %q", res.Status, body)
	}
	c.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	way.unsent.Store(1)
	if res, body := c.whole("POST"); res.StatusCode != 200 || body != "hello" {
		t.Errorf("%s %q", res.Status, body)
	}
}

func TestOnlyWhatWasNotSentWaits(t *testing.T) {
	for _, tt := range []struct {
		wrote int64
		cause cause
		want  bool
	}{
		{0, causeReset, true}, {0, causeClosed, true}, {1, causeReset, false}, {0, causeStalled, false}, {0, causeProtocol, false},
	} {
		if got := brokeUnsent(&slotConn{wrote: tt.wrote}, &slotError{cause: tt.cause, err: io.EOF}); got != tt.want {
			t.Errorf("%d bytes written, %s: %v", tt.wrote, tt.cause, got)
		}
	}
	for cause, want := range map[cause]bool{causeConnectRefused: true, causeConnectTimeout: true, causeConnectFailed: false, causeReset: false} {
		if got := unreachable(&slotError{cause: cause, err: io.EOF}); got != want {
			t.Errorf("%s: %v", cause, got)
		}
	}
}
