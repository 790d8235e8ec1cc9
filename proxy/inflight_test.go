package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// startBusy is a front whose slot answers a path of /slow when it is let go.
func startBusy(t *testing.T, change func(*Service)) (f *front, arrived chan string, letGo chan struct{}) {
	t.Helper()
	arrived, letGo = make(chan string, 1000), make(chan struct{})
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.URL.Path
		if strings.HasPrefix(r.URL.Path, "/slow") {
			<-letGo
		}
		io.WriteString(w, r.URL.Path) //nolint:errcheck // the client tells
	})
	f = startFront(t, slot, func(o *frontOptions) {
		o.service.MaxRequests, o.service.QueueRequests, o.service.QueueTime = 1, 1, patience
		change(&o.service)
	})
	return f, arrived, letGo
}

func (c *rawClient) askFor(path string) {
	c.t.Helper()
	c.say("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
}

func (f *front) awaitQueued(n int64) {
	f.t.Helper()
	f.await("a request to wait", func() bool { return f.proxy.Queued("backend") == n })
}

// emptied fails the test unless every place comes back.
func (f *front) emptied() {
	f.t.Helper()
	f.await("all places to be given back", func() bool {
		return len(f.proxy.table.Load().routes["backend"].target.inFlight.places) == 0 && f.proxy.Queued("backend") == 0
	})
}

func TestAboveTheBoundRequestsWaitAndAreThenToldWhenToComeBack(t *testing.T) {
	f, arrived, letGo := startBusy(t, func(*Service) {})
	first, second, third := f.dial(), f.dial(), f.dial()
	first.askFor("/slow")
	<-arrived
	second.askFor("/second")
	f.awaitQueued(1)
	third.askFor("/third")
	res, _ := third.whole("GET")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get(errorCauseField) != string(causeQueueFull) {
		t.Errorf("the third: %s %v", res.Status, res.Header)
	}
	close(letGo)
	for _, c := range []*rawClient{first, second} {
		if res, _ := c.whole("GET"); res.StatusCode != 200 {
			t.Errorf("%s", res.Status)
		}
	}
	if path := <-arrived; path != "/second" {
		t.Errorf("the slot saw %s", path)
	}
	third.get("/again") // its connection was kept
	f.emptied()
	if s := f.stats(); s.Faults != 0 || s.Errors != 0 {
		t.Errorf("it counts against the slot: %+v", s)
	}
}

func TestARequestThatWaitsForTooLongIsToldWhenToComeBack(t *testing.T) {
	f, arrived, letGo := startBusy(t, func(s *Service) { s.QueueTime = time.Millisecond })
	first, second := f.dial(), f.dial()
	first.askFor("/slow")
	<-arrived
	second.askFor("/second")
	res, _ := second.whole("GET")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get(errorCauseField) != string(causeQueuedTooLong) {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	close(letGo)
	first.whole("GET")
	f.emptied()
}

func TestRequestsGoInTheOrderInWhichTheyWaited(t *testing.T) {
	f, arrived, letGo := startBusy(t, func(s *Service) { s.QueueRequests = 10 })
	f.dial().askFor("/slow")
	<-arrived
	for i, path := range []string{"/1", "/2", "/3"} {
		f.dial().askFor(path)
		f.awaitQueued(int64(i + 1))
	}
	close(letGo)
	for _, want := range []string{"/1", "/2", "/3"} {
		if got := <-arrived; got != want {
			t.Errorf("%s came before %s", got, want)
		}
	}
	f.emptied()
}

// A slot that hangs has all its places taken; those who wait are not bound to it.
func TestASwapTakesThoseAlongWhoWait(t *testing.T) {
	green := startHandler(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "green") //nolint:errcheck // the client tells
	})
	f, arrived, letGo := startBusy(t, func(s *Service) { s.Slots["green"] = green })
	first, second := f.dial(), f.dial()
	first.askFor("/slow")
	<-arrived
	second.askFor("/second")
	f.awaitQueued(1)
	retired, err := f.proxy.Swap(map[string]string{"backend": "green"})
	if err != nil {
		t.Fatal(err)
	}
	if res, body := second.whole("GET"); res.StatusCode != 200 || body != "green" {
		t.Errorf("%s %q", res.Status, body)
	}
	close(letGo)
	if _, body := first.whole("GET"); body != "/slow" {
		t.Errorf("the one that was under way got %q", body)
	}
	if counts, err := retired.Drain(t.Context()); err != nil || counts[0].Moved != 1 {
		t.Errorf("%+v, %v", counts, err)
	}
	f.emptied()
}

func TestAClientThatLeavesTheQueueIsNeverSeenByTheSlot(t *testing.T) {
	f, arrived, letGo := startBusy(t, func(*Service) {})
	first := f.dial()
	first.askFor("/slow")
	<-arrived
	for _, request := range []string{
		"GET /left HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome",
	} {
		c := f.dial()
		c.say(request)
		f.awaitQueued(1)
		c.Close()
		f.awaitQueued(0)
	}
	close(letGo)
	first.whole("GET")
	f.dial().get("/after")
	if got := <-arrived; got != "/after" {
		t.Errorf("the slot saw %s", got)
	}
	f.emptied()
}

func TestAStreamTakesNoPlace(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for head := c.Head(); head != ""; head = c.Head() {
			switch {
			case strings.HasPrefix(head, "GET /events"):
				c.Say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata\n\n\r\n")
			case strings.HasPrefix(head, "GET /socket"):
				c.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			default:
				c.Answer("ok")
			}
		}
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) {
		o.service.MaxRequests, o.service.QueueRequests = 1, 0
		o.service.HalfCloseGrace = time.Millisecond
	})
	for _, request := range []string{
		"GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
		"GET /socket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		c := f.dial()
		c.say(request)
		c.lines()
		f.emptied()
		f.dial().get("/")
		c.Close()
	}
	f.await("the streams to end", func() bool { return f.stats().InFlight == 0 })
	f.emptied()
}

// Nothing is lost or kept, whatever ends the requests.
func TestEveryPlaceComesBack(t *testing.T) {
	f, _, letGo := startBusy(t, func(s *Service) { s.MaxRequests, s.QueueRequests = 3, 5 })
	close(letGo)
	clients := make(chan struct{})
	for i := range 20 {
		go func() {
			defer func() { clients <- struct{}{} }()
			for n := range 20 {
				res, err := http.Get("http://" + f.addr + "/slow")
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body) //nolint:errcheck // the status tells
				res.Body.Close()
				if res.StatusCode != 200 && res.StatusCode != 503 {
					t.Errorf("client %d, request %d: %s", i, n, res.Status)
				}
			}
		}()
	}
	for range 20 {
		<-clients
	}
	http.DefaultClient.CloseIdleConnections()
	f.emptied()
}
