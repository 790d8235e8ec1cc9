package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// graces is a streams whose slots are not there.
type graces struct {
	*streams
	mu    sync.Mutex
	ended []string // "backend/blue after 10m0s"
	open  map[place]int
}

func newGraces(ctx context.Context, grace time.Duration) (*graces, *errgroup.Group) {
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	g := &graces{open: map[place]int{}}
	g.streams = &streams{
		end: func(_ context.Context, p place) proxy.StreamCount {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.ended = append(g.ended, fmt.Sprintf("%s/%s after %v", p.service, p.slot, time.Since(begun)))
			return proxy.StreamCount{}
		},
		left: func(p place) bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.open[p]--
			return g.open[p] > 0
		},
		grace: func(string) time.Duration { return grace },
		tell:  func(place, proxy.StreamCount) {},
		tasks: newTasks(ctx, group), leaving: map[place]*leaving{},
	}
	return g, group
}

func (g *graces) count() int {
	g.streams.mu.Lock()
	defer g.streams.mu.Unlock()
	return len(g.leaving)
}

var blueOfBackend = place{"backend", switcher.Blue}

func TestTheGraceOfStreamsBeginsWithTheSwitch(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(g *graces, to func(switcher.Slot))
		want []string
	}{
		"it ends": {func(g *graces, to func(switcher.Slot)) {
			to(switcher.Green)
		}, []string{"backend/blue after 10m0s"}},
		"a second time nothing begins anew": {func(g *graces, to func(switcher.Slot)) {
			to(switcher.Green)
			time.Sleep(4 * time.Minute)
			to(switcher.Green)
		}, []string{"backend/blue after 10m0s"}},
		"traffic that returns keeps its streams": {func(g *graces, to func(switcher.Slot)) {
			to(switcher.Green)
			time.Sleep(9 * time.Minute)
			to(switcher.Blue)
		}, []string{"backend/green after 19m0s"}},
		"and leaves again": {func(g *graces, to func(switcher.Slot)) {
			to(switcher.Green)
			time.Sleep(time.Minute)
			to(switcher.Blue)
			time.Sleep(time.Minute)
			to(switcher.Green)
		}, []string{"backend/blue after 12m0s"}},
		"requests may become streams yet": {func(g *graces, to func(switcher.Slot)) {
			g.open[blueOfBackend] = 3
			to(switcher.Green)
		}, []string{"backend/blue after 10m0s", "backend/blue after 10m1s", "backend/blue after 10m2s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, group := newGraces(t.Context(), 10*time.Minute)
				tt.do(g, func(slot switcher.Slot) { g.moved(map[string]switcher.Slot{"backend": slot}) })
				if n := g.count(); n != 1 {
					t.Errorf("%d slots have a grace, want one", n)
				}
				if err := group.Wait(); err != nil {
					t.Error(err)
				}
				if !slices.Equal(g.ended, tt.want) || g.count() > 0 {
					t.Errorf("ended %v, want %v; %d have a grace yet", g.ended, tt.want, g.count())
				}
			})
		})
	}
}

func TestAGraceEndsWithTheDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		g, group := newGraces(ctx, time.Hour)
		g.moved(map[string]switcher.Slot{"backend": switcher.Green})
		if until := g.until(blueOfBackend); time.Until(until) != time.Hour {
			t.Errorf("it ends at %v", until)
		}
		cancel()
		if err := group.Wait(); err != nil || len(g.ended) > 0 {
			t.Errorf("%v; ended %v", err, g.ended)
		}
	})
}

// streamSlot is a slot whose answers are event streams that end with their
// request only.
func streamSlot(t *testing.T, name string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/events" {
			fmt.Fprint(w, "{}")
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: %s\n\n", name)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// openEvents opens an event stream and returns its first line and how it ends.
func openEvents(t *testing.T, address string) (first string, end func() error) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	res, err := client.Get("http://" + address + "/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewReader(res.Body)
	first, err = lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(first), func() error {
		rest, err := io.ReadAll(lines)
		if strings.TrimSpace(string(rest)) != "" {
			err = errors.Join(err, fmt.Errorf("it went on with %q", rest))
		}
		return err
	}
}

func streamService(address, blue, green, grace string) string {
	return services(service("backend", address, blue, green) + "    streams: {grace: " + grace + ", spread: 0s}\n")
}

func TestStreamsOfTheSlotThatWasLeftEndAndComeBackToTheOther(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, streamService(address, streamSlot(t, "blue"), streamSlot(t, "green"), "500ms"))
	first, end := openEvents(t, address)
	if first != "data: blue" {
		t.Fatal(first)
	}
	rec, err := w.client.Switch(t.Context(), control.SwitchRequest{To: switcher.Green, Force: true})
	if err != nil || len(rec.Drain) != 1 || rec.Drain[0].OpenStreams != 1 || rec.Drain[0].StreamsUntil.IsZero() {
		t.Errorf("switch: %+v, %v", rec.Drain, err)
	}
	if err := end(); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
	if first, _ := openEvents(t, address); first != "data: green" {
		t.Errorf("it comes back to %q", first)
	}
	await(t, "the streams to be counted", func() bool { return w.status().Services[0].Slots[0].StreamsEnded == 1 })
	if s := w.status().Services[0].Slots[0]; s.Streams != 0 || s.StreamsCut != 0 || !s.StreamsUntil.IsZero() {
		t.Errorf("the status says %+v", s)
	}
	if !w.log.contains("streams were ended") {
		t.Error("the log does not tell")
	}
}

func TestStreamsAreEndedOnDemand(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, streamService(address, streamSlot(t, "blue"), streamSlot(t, "green"), "1h"))
	_, end := openEvents(t, address)
	ask := func(service string) (control.EndStreamsResult, error) {
		return w.client.EndStreams(t.Context(), control.EndStreamsRequest{Service: service, Slot: switcher.Blue})
	}
	if _, err := ask("backend"); !errors.Is(err, control.ErrBadRequest) {
		t.Errorf("of the active slot: %v", err)
	}
	if _, err := ask("nobody"); !errors.Is(err, switcher.ErrUnknownService) {
		t.Errorf("of no service: %v", err)
	}
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{To: switcher.Green, Force: true}); err != nil {
		t.Fatal(err)
	}
	if s := w.status().Services[0].Slots[0]; s.Streams != 1 || time.Until(s.StreamsUntil) < 50*time.Minute {
		t.Errorf("%d streams until %v", s.Streams, s.StreamsUntil)
	}
	if r, err := ask("backend"); err != nil || r != (control.EndStreamsResult{Ended: 1}) {
		t.Errorf("%+v, %v", r, err)
	}
	if err := end(); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
}

// Whoever stops a unit, an application that waits for its streams waits for
// nothing then, the active one included.
func TestAUnitThatIsStoppedHasItsStreamsEnded(t *testing.T) {
	address := freeAddress(t)
	units := newFakeSystemd(calmUnits())
	w := newWorldWithUnits(t, units, streamService(address, streamSlot(t, "blue"), streamSlot(t, "green"), "1h"))
	await(t, "the units to be known", func() bool { return w.status().Services[0].Slots[0].Runs != nil })
	_, end := openEvents(t, address)
	units.setUnit(blueUnit, func(s *unitState) { s.Active, s.Sub = "deactivating", "stop-sigterm" })
	if err := end(); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
	await(t, "the streams to be counted", func() bool { return w.status().Services[0].Slots[0].StreamsEnded == 1 })
}

func TestStreamsEndWellWhenTheDaemonStops(t *testing.T) {
	address := freeAddress(t)
	w := newWorld(t, streamService(address, streamSlot(t, "blue"), streamSlot(t, "green"), "1h"))
	_, end := openEvents(t, address)
	ended := make(chan error, 1)
	go func() { ended <- w.end() }()
	if err := end(); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
