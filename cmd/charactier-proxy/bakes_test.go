package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/bake"
	"charactier-proxy/switcher/control"
)

// sickSlot is a slot that fails one request in every; zero means none. Its
// health lies: it is always well, unless ill is set.
type sickSlot struct {
	address string
	every   atomic.Int64
	slow    atomic.Int64 // nanoseconds
	mute    atomic.Int64 // one in so many requests is not answered before the test ends
	ended   chan struct{}
	ill     atomic.Bool
	n       atomic.Int64
	refuse  func() // takes no connections any more
}

func newSickSlot(t *testing.T, every int64) *sickSlot {
	s := &sickSlot{ended: make(chan struct{})}
	s.every.Store(every)
	server := httptest.NewServer(s)
	s.refuse = func() {
		server.Listener.Close()
		server.Config.SetKeepAlivesEnabled(false)
	}
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(s.ended) })
	s.address = server.Listener.Addr().String()
	return s
}

func (s *sickSlot) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		if s.ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return
	}
	if d := s.slow.Load(); d > 0 {
		<-time.After(time.Duration(d))
	}
	if r.URL.Path == "/missing" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if mute := s.mute.Load(); mute > 0 && s.n.Add(1)%mute == 0 {
		<-s.ended
		return
	}
	if every := s.every.Load(); every > 0 && s.n.Add(1)%every == 0 {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// users send requests, each again as soon as it was answered and a little later,
// until the test ends.
func users(t *testing.T, n int, address, path string) { usersFor(t, n, address, path, 0) }

// usersFor give a request up after a while.
func usersFor(t *testing.T, n int, address, path string, patience time.Duration) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{}, n)
	for range n {
		go func() {
			defer func() { done <- struct{}{} }()
			client := http.Client{Transport: &http.Transport{}, Timeout: patience}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
				if err != nil {
					panic(err)
				}
				if res, err := client.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
				select {
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}()
	}
	t.Cleanup(func() {
		stop()
		for range n {
			<-done
		}
	})
}

const bakeYAML = "    bake: {min_requests: 50}\n"

// bakeWorld is a daemon whose backend has been busy on blue for a while.
func bakeWorld(t *testing.T, blue, green *sickSlot) (w *world, address string) {
	address = freeAddress(t)
	w = newWorld(t, services(service("backend", address, blue.address, green.address)+bakeYAML))
	users(t, 8, address, "/")
	w.awaitBaseline("backend")
	return w, address
}

// awaitBaseline waits until enough is known of what the active slot does.
func (w *world) awaitBaseline(service string) {
	w.Helper()
	await(w.T, "a baseline", func() bool {
		return w.daemon.baseline(place{service, w.status().Services[0].Active}).Requests > 500
	})
}

func (w *world) mustBake(r control.SwitchRequest) switcher.Record {
	w.Helper()
	rec, err := w.client.Switch(w.Context(), r)
	if err != nil {
		w.Fatal(err)
	}
	if rec.Bake == nil || rec.Bake.Verdict != switcher.Baking {
		w.Fatalf("the switch answered %+v", rec)
	}
	return rec
}

// verdict waits until the record of a switch has one.
func (w *world) verdict(id string) switcher.BakeResult {
	w.Helper()
	var found switcher.Record
	await(w.T, "a verdict", func() bool {
		found = w.recordOf(id)
		return found.Bake != nil && found.Bake.Verdict != switcher.Baking
	})
	return *found.Bake
}

func (w *world) recordOf(id string) switcher.Record {
	w.Helper()
	records, err := w.client.History(w.Context(), 20)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range records {
		if r.ID == id {
			return r
		}
	}
	w.Fatalf("%s is not in the history", id)
	return switcher.Record{}
}

// told reports whether an event of a kind says the text.
func (w *world) told(kind, text string) bool {
	w.Helper()
	found := false
	ctx, cancel := context.WithCancel(w.Context())
	last := "the newest"
	w.daemon.publish("test", switcher.LevelInfo, last)
	_ = w.daemon.Events(ctx, 0, func(e switcher.Event) error {
		found = found || e.Kind == kind && strings.Contains(e.Text, text)
		if e.Text == last {
			cancel()
		}
		return nil
	})
	return found
}

func TestABadReleaseIsReturned(t *testing.T) {
	w, address := bakeWorld(t, newSickSlot(t, 0), newSickSlot(t, 20))
	rec := w.mustBake(control.SwitchRequest{Bake: 10 * time.Second})
	if status := w.status().Services[0]; status.Active != switcher.Green || status.Bake == nil || status.Bake.Verdict != switcher.Baking {
		t.Errorf("while it bakes the status says %+v", status.Bake)
	}
	got := w.verdict(rec.ID)
	if got.Verdict != switcher.BakeFailed || got.Returned == "" || !strings.Contains(got.Text, "requests fail more often than before") {
		t.Errorf("the bake is %+v", got)
	}
	back := w.recordOf(got.Returned)
	if back.Kind != switcher.KindRollback || back.Actor.Command != "charactier-proxy (bake)" || !strings.Contains(back.Reason, got.Text[len("backend: "):]) {
		t.Errorf("the rollback is %+v", back)
	}
	status := w.status()
	if s := status.Services[0]; s.Active != switcher.Blue || s.Bake == nil || s.Bake.Returned != back.ID || len(status.Warnings) > 0 {
		t.Errorf("afterwards the status says %+v and %q", s, status.Warnings)
	}
	if !w.told("bake", "watched for 10s, compared with blue") || !w.told("bake", "returning the traffic to blue") || !w.told("bake", "bake: fail: backend: ") {
		t.Error("the events do not tell of begin, failure and end")
	}
	if status, _, err := get(address, "/"); status != http.StatusOK {
		t.Errorf("a request afterwards: %d %v", status, err)
	}
}

// busyBefore is a world whose users have left by when it is returned.
func busyBefore(t *testing.T, green *sickSlot, bakeYAML string) (w *world, address string) {
	address = freeAddress(t)
	w = newWorld(t, services(service("backend", address, newSickSlot(t, 0).address, green.address)+bakeYAML))
	t.Run("users", func(t *testing.T) {
		users(t, 8, address, "/")
		w.awaitBaseline("backend")
	})
	return w, address
}

func TestABadReleaseIsReturnedThoughItsUsersLeft(t *testing.T) {
	w, address := busyBefore(t, newSickSlot(t, 3), bakeYAML)
	rec := w.mustBake(control.SwitchRequest{Bake: 4 * time.Second})
	for range 60 {
		_, _, _ = get(address, "/") // every third fails
	}
	got := w.verdict(rec.ID)
	if got.Verdict != switcher.BakeFailed || got.Returned == "" || !strings.Contains(got.Text, "20 of 60 requests failed on green (33.3 %), 0 of ") || !strings.Contains(got.Text, " on blue before (0.0 %)") {
		t.Errorf("the bake is %+v", got)
	}
}

func TestABakeWithoutItsUsersEndsAsConfigured(t *testing.T) {
	for policy, active := range map[string]switcher.Slot{"keep": switcher.Green, "return": switcher.Blue} {
		w, _ := busyBefore(t, newSickSlot(t, 0), "    bake: {min_requests: 10, inconclusive: "+policy+"}\n")
		rec := w.mustBake(control.SwitchRequest{Bake: 3 * time.Second})
		if got := w.verdict(rec.ID); got.Verdict != switcher.Inconclusive || !strings.Contains(got.Text, "the users are gone") || (got.Returned != "") != (policy == "return") {
			t.Errorf("%s: the bake is %+v", policy, got)
		}
		if now := w.status().Services[0].Active; now != active {
			t.Errorf("%s: the traffic is on %s", policy, now)
		}
	}
}

func TestAGoodReleaseStays(t *testing.T) {
	w, _ := bakeWorld(t, newSickSlot(t, 200), newSickSlot(t, 200))
	rec := w.mustBake(control.SwitchRequest{Bake: 2 * time.Second})
	if got := w.verdict(rec.ID); got.Verdict != switcher.Passed || got.Returned != "" {
		t.Errorf("the bake is %+v", got)
	}
	if s := w.status().Services[0]; s.Active != switcher.Green || s.Bake.Verdict != switcher.Passed {
		t.Errorf("afterwards the status says %+v", s)
	}
}

func TestWhatClientsDoWrongIsNoReasonToReturn(t *testing.T) {
	w, address := bakeWorld(t, newSickSlot(t, 0), newSickSlot(t, 0))
	users(t, 8, address, "/missing")
	rec := w.mustBake(control.SwitchRequest{Bake: 2 * time.Second})
	if got := w.verdict(rec.ID); got.Verdict != switcher.Passed {
		t.Errorf("the bake is %+v", got)
	}
}

func TestASlowReleaseIsReturned(t *testing.T) {
	blue, green := newSickSlot(t, 0), newSickSlot(t, 0)
	w, _ := bakeWorld(t, blue, green)
	// A busy machine is slow by itself.
	before := w.daemon.baseline(place{"backend", switcher.Blue}).P95Most
	green.slow.Store(int64(300*time.Millisecond + 3*before))
	users(t, 32, w.status().Services[0].Listen[0], "/")
	rec := w.mustBake(control.SwitchRequest{Bake: 10 * time.Second})
	if got := w.verdict(rec.ID); got.Verdict != switcher.BakeFailed || got.Returned == "" || !strings.Contains(got.Text, "requests take longer than before") {
		t.Errorf("the bake is %+v", got)
	}
}

func TestProbesFillUpAQuietBake(t *testing.T) {
	blue, green := newSickSlot(t, 0), newSickSlot(t, 0)
	address := freeAddress(t)
	w := newWorld(t, services(service("backend", address, blue.address, green.address)+"    bake: {min_requests: 10}\n"))
	rec := w.mustBake(control.SwitchRequest{Bake: 3 * time.Second})
	got := w.verdict(rec.ID)
	if got.Verdict != switcher.Passed || !strings.Contains(got.Text, "no requests came") || !strings.Contains(got.Text, "of which 0 failed") {
		t.Errorf("the bake is %+v", got)
	}
}

func TestABakeWithoutSamplesEndsAsConfigured(t *testing.T) {
	for _, c := range []struct {
		policy string
		active switcher.Slot
	}{{"keep", switcher.Green}, {"return", switcher.Blue}} {
		t.Run(c.policy, func(t *testing.T) {
			yaml := service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"))
			w := newWorld(t, services(yaml+"    bake: {min_requests: 1000000, inconclusive: "+c.policy+"}\n"))
			rec := w.mustBake(control.SwitchRequest{Bake: time.Second})
			got := w.verdict(rec.ID)
			if got.Verdict != switcher.Inconclusive || (got.Returned != "") != (c.policy == "return") {
				t.Errorf("the bake is %+v", got)
			}
			if active := w.status().Services[0].Active; active != c.active {
				t.Errorf("the traffic is on %s", active)
			}
		})
	}
}

func TestNothingIsReturnedToASlotThatIsIll(t *testing.T) {
	blue, green := newSickSlot(t, 0), newSickSlot(t, 2)
	w, _ := bakeWorld(t, blue, green)
	rec := w.mustBake(control.SwitchRequest{Bake: 5 * time.Second})
	blue.ill.Store(true)
	if got := w.verdict(rec.ID); got.Verdict != switcher.BakeFailed || got.Returned != "" {
		t.Errorf("the bake is %+v", got)
	}
	status := w.status()
	if active := status.Services[0].Active; active != switcher.Green {
		t.Errorf("the traffic is on %s", active)
	}
	if got := strings.Join(status.Warnings, "\n"); !strings.Contains(got, "the traffic could not be returned to blue") || !strings.Contains(got, "rollback --service backend") {
		t.Errorf("warnings: %s", got)
	}
	if !w.told("bake", "the traffic stays on green, it could not be returned") {
		t.Error("no event tells that the traffic stays")
	}
	blue.ill.Store(false)
	if _, err := w.client.Rollback(t.Context(), control.SwitchRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.status().Warnings, "\n"); strings.Contains(got, "could not be returned") {
		t.Errorf("warnings after the rollback: %s", got)
	}
}

// What looks worse is saved at once, and all else when its time has come.
func TestWhatLooksWorseIsSavedAtOnce(t *testing.T) {
	base := switcher.Baseline{Slot: switcher.Blue, Over: time.Minute, Requests: 6000}
	r := &baking{judge: bake.New(switcher.BakePlan{Time: time.Hour, MinRequests: 50, Errors: 1}, base), noted: time.Now()}
	r.judge.Look(time.Second, bake.Counts{Requests: 100})
	if r.due() {
		t.Error("a good slot is due at once")
	}
	r.judge.Look(2*time.Second, bake.Counts{Requests: 200, Failed: 50})
	if !r.due() {
		t.Error("a quarter of the requests failed, and that is not due")
	}
	if r.suspect = true; r.due() {
		t.Error("what was saved is due again at once")
	}
	if r.noted = r.noted.Add(-time.Hour / noteParts); !r.due() {
		t.Error("it is not due when its time has come")
	}
}

func TestOneBadServiceReturnsAllOfItsSwitch(t *testing.T) {
	blue, green := newSickSlot(t, 0), newSickSlot(t, 2)
	address, other := freeAddress(t), freeAddress(t)
	w := newWorld(t, services(service("backend", address, blue.address, green.address)+bakeYAML,
		service("frontend", other, namedSlot(t, "fb"), namedSlot(t, "fg"))))
	users(t, 8, address, "/")
	w.awaitBaseline("backend")
	rec := w.mustBake(control.SwitchRequest{Bake: 10 * time.Second})
	if got := w.verdict(rec.ID); got.Verdict != switcher.BakeFailed || !strings.Contains(got.Text, "frontend: together with backend") {
		t.Errorf("the bake is %+v", got)
	}
	for _, s := range w.status().Services {
		if s.Active != switcher.Blue {
			t.Errorf("%s is on %s", s.Name, s.Active)
		}
	}
}

func TestAReturnHappensWithinAReservation(t *testing.T) {
	w, _ := bakeWorld(t, newSickSlot(t, 0), newSickSlot(t, 2))
	res, err := w.client.Reserve(t.Context(), control.ReserveRequest{Kind: switcher.KindDeploy})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	rec := w.mustBake(control.SwitchRequest{Bake: 5 * time.Second, Within: res.ID})
	if got := w.verdict(rec.ID); got.Returned == "" {
		t.Errorf("the bake is %+v", got)
	}
}

func TestAServicesOwnBakeTimeMayBeNone(t *testing.T) {
	yaml := service("backend", freeAddress(t), namedSlot(t, "blue"), namedSlot(t, "green"))
	w := newWorld(t, services(yaml+"    bake: {time: 0s}\n"))
	rec, err := w.client.Switch(t.Context(), control.SwitchRequest{Bake: -1})
	if err != nil || rec.Bake != nil {
		t.Errorf("the switch answered %+v, %v", rec, err)
	}
}

// Who gets no answer gives up, which is no fault of the slot in any count: nobody
// has failed, and all that were answered were answered at once.
func TestAReleaseThatLeavesRequestsOpenIsReturned(t *testing.T) {
	green := newSickSlot(t, 0)
	green.mute.Store(4)
	w, address := bakeWorld(t, newSickSlot(t, 0), green)
	usersFor(t, 40, address, "/", 1500*time.Millisecond)
	got := w.verdict(w.mustBake(control.SwitchRequest{Bake: 15 * time.Second}).ID)
	if got.Verdict != switcher.BakeFailed || got.Returned == "" || !strings.Contains(got.Text, "requests take longer than before") {
		t.Errorf("the bake is %+v", got)
	}
}
