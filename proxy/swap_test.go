package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// countingSlot answers with its name and the request's body, and knows whether it may be
// asked at all.
type countingSlot struct {
	name    string
	addr    string
	drained atomic.Bool
	late    atomic.Int64 // requests that began when it was drained
	seen    sync.Map     // of request body to *atomic.Int64
	twice   atomic.Int64
}

func startCountingSlot(t *testing.T, name string) *countingSlot {
	s := &countingSlot{name: name}
	s.addr = startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if s.drained.Load() {
			s.late.Add(1)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if _, again := s.seen.LoadOrStore(string(body), true); again {
			s.twice.Add(1)
		}
		fmt.Fprintf(w, "%s %s", name, body)
	})
	return s
}

// P1, P2, P3 under load: no request fails, none is executed twice, none begins
// on a slot that was drained.
func TestSwapsUnderLoadLoseNothing(t *testing.T) {
	slots := map[string]*countingSlot{"blue": startCountingSlot(t, "blue"), "green": startCountingSlot(t, "green")}
	f := startFront(t, slots["blue"].addr, func(o *frontOptions) {
		o.service.Slots["green"] = slots["green"].addr
		o.service.MaxIdleSlotConns = 100
		o.settings.AccessLog = nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var sent, answered atomic.Int64
	var wg sync.WaitGroup
	client := newClient(t, false)
	for worker := range 64 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				body := fmt.Sprintf("%d-%d", worker, i)
				sent.Add(1)
				if err := postOnce(client, f.addr, body); err != nil {
					t.Errorf("%s: %v", body, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for n := range 20 {
		to, from := "green", "blue"
		if n%2 == 1 {
			to, from = from, to
		}
		enough := answered.Load() + 30
		await(t, "some requests", func() bool { return answered.Load() >= enough || t.Failed() })
		slots[to].drained.Store(false)
		retired, err := f.proxy.Swap(map[string]string{"backend": to})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := retired.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		slots[from].drained.Store(true)
	}
	cancel()
	wg.Wait()
	for name, s := range slots {
		if late, twice := s.late.Load(), s.twice.Load(); late+twice > 0 {
			t.Errorf("%s: %d requests when drained, %d executed twice", name, late, twice)
		}
	}
	if sent.Load() != answered.Load() {
		t.Errorf("%d sent, %d answered", sent.Load(), answered.Load())
	}
	t.Logf("%d requests over 20 swaps", sent.Load())
}

func postOnce(client *http.Client, addr, body string) error {
	// A reader without a length and without GetBody: the client cannot repeat it.
	req, err := http.NewRequest("POST", "http://"+addr, io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return err
	}
	req.ContentLength = int64(len(body))
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != 200 || !strings.HasSuffix(string(got), " "+body) {
		return fmt.Errorf("%s %q", res.Status, got)
	}
	return nil
}

// P1: what was claimed before a swap is served by the old target to its end.
func TestARequestStaysWithTheTargetItClaimed(t *testing.T) {
	step := make(chan struct{})
	blue := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nblue")
		<-step
		c.Say("blue")
	})
	green := proxytest.Start(t, proxytest.KeepAlive("green"))
	f := startFront(t, blue.Addr(), func(o *frontOptions) { o.service.Slots["green"] = green.Addr() })
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res := c.answer("GET")
	retired, err := f.proxy.Swap(map[string]string{"backend": "green"})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.dial().get("/"); got != "green" {
		t.Errorf("a new request went to %s", got)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if counts, err := retired.Drain(short); err == nil || counts[0].OpenRequests != 1 {
		t.Errorf("drained with a request open: %v %v", counts, err)
	}
	close(step)
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "blueblue" {
		t.Errorf("%q, %v", b, err)
	}
	if counts, err := retired.Drain(t.Context()); err != nil || counts[0].Moved != 1 {
		t.Errorf("%v %v", counts, err)
	}
	if got := c.get("/"); got != "green" { // on the connection that blue had answered
		t.Errorf("the next request went to %s", got)
	}
}

func TestStreamsDrainApart(t *testing.T) {
	slot := startTunnelSlot(t, copyBack)
	green := proxytest.Start(t, proxytest.KeepAlive("green"))
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.Slots["green"] = green.Addr() })
	c := f.openTunnel()
	retired, err := f.proxy.Swap(map[string]string{"backend": "green"})
	if err != nil {
		t.Fatal(err)
	}
	counts, err := retired.Drain(t.Context())
	if err != nil || counts[0].OpenStreams != 1 || counts[0].OpenRequests != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
	c.say("still")
	c.expect("still")
}

// The table is read once for a request, so many services may move in an instant
// without anyone seeing half of it.
func TestAHeldRequestGoesToWhatIsActiveWhenItIsReleased(t *testing.T) {
	blue, green := proxytest.Start(t, proxytest.KeepAlive("blue")), proxytest.Start(t, proxytest.KeepAlive("green"))
	f := startFront(t, blue.Addr(), func(o *frontOptions) { o.service.Slots["green"] = green.Addr() })
	f.proxy.Hold("backend")
	c := f.dial()
	c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
	f.await("the request to wait", func() bool { return f.proxy.Waiting("backend") == 1 })
	if _, err := f.proxy.Swap(map[string]string{"backend": "green"}); err != nil {
		t.Fatal(err)
	}
	f.proxy.Release("backend")
	if _, body := c.whole("POST"); body != "green" {
		t.Errorf("answered by %s", body)
	}
	if blue.Accepted() != 0 {
		t.Error("blue was asked")
	}
}
