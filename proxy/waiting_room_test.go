package proxy

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// door is a slot whose door a test opens and shuts.
type door struct {
	open     atomic.Bool
	attempts atomic.Int64
	at       atomic.Int64 // how many attempts at once
	most     atomic.Int64
	takes    time.Duration
}

var errShutDoor = &slotError{cause: causeConnectRefused, op: "connecting", err: errors.New("refused")}

func (d *door) Pause(bool) {}

func (d *door) Connect(ctx context.Context) error {
	d.attempts.Add(1)
	d.most.Store(max(d.most.Load(), d.at.Add(1)))
	defer d.at.Add(-1)
	time.Sleep(d.takes)
	if !d.open.Load() {
		return errShutDoor
	}
	return nil
}

// newRoom is the waiting room of a slot that refused a connect just now.
func newRoom(d *door, s *Service, told *[]Outage) *waitingRoom {
	s.Name, s.Slots = "backend", map[string]string{"blue": "127.0.0.1:1"}
	r := newWaitingRoom(s, "blue", d, new(atomic.Int64), func(o Outage) { *told = append(*told, o) })
	r.close(time.Now(), errShutDoor)
	return r
}

// enter has requests wait, one after the other, and returns where their ends
// arrive.
func enter(t *testing.T, r *waitingRoom, n int) chan int {
	ends := make(chan int, n)
	for i := range n {
		go func() {
			if err := r.wait(t.Context(), time.Now(), 0, true); err != nil {
				t.Errorf("request %d: %v", i, err)
			}
			ends <- i
		}()
		synctest.Wait()
		time.Sleep(time.Microsecond)
	}
	return ends
}

func TestOneRequestTriesForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Outage
		d := &door{takes: 3 * time.Millisecond}
		r := newRoom(d, &Service{HoldTime: time.Minute}, &told)
		ends := enter(t, r, 100)
		time.Sleep(10 * time.Second)
		if n, most := d.attempts.Load(), d.most.Load(); most != 1 || n < 10*4-3 || n > 10*4+3 {
			t.Errorf("%d attempts in 10 s, at most %d at once; want one every %v", n, most, maxPause)
		}
		d.open.Store(true)
		for range 100 {
			<-ends
		}
		if len(told) != 2 || !told[0].Until.IsZero() || told[1].Until.IsZero() || told[1].Waited != 100 || told[1].Left {
			t.Errorf("told %+v", told)
		}
	})
}

func TestRequestsAreLetGoInOrderAndNotAllAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Outage
		r := newRoom(&door{}, &Service{HoldTime: time.Minute}, &told)
		ends := enter(t, r, 100)
		r.open()
		for _, want := range []int{firstLot, 3 * firstLot, 100} {
			synctest.Wait()
			if len(ends) != want {
				t.Errorf("%d were let go, want %d", len(ends), want)
			}
			time.Sleep(lotPause)
		}
		for want := 0; want < firstLot; want++ {
			if i := <-ends; i >= firstLot {
				t.Errorf("request %d was in the first lot", i)
			}
		}
	})
}

// A slot that refuses again keeps those who were not let go, and takes back those
// who were, before all others.
func TestASlotThatRefusesAgainIsWaitedForInTheSameOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Outage
		d := &door{}
		r := newRoom(d, &Service{HoldTime: time.Minute}, &told)
		came := time.Now()
		ends := enter(t, r, 2*firstLot)
		r.open()
		synctest.Wait()
		first := len(ends)
		r.close(time.Now(), errShutDoor)
		time.Sleep(time.Second)
		if len(ends) != first || len(told) != 1 {
			t.Errorf("%d more were let go, told %+v", len(ends)-first, told)
		}
		again := make(chan error, 1)
		go func() { again <- r.wait(t.Context(), came, time.Second, false) }()
		synctest.Wait()
		if front := r.queue.Front().Value.(*roomPlace); !front.came.Equal(came) {
			t.Error("who came first is not the first again")
		}
		d.open.Store(true)
		if err := <-again; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(told) != 2 || told[1].Waited != 2*firstLot {
			t.Errorf("told %+v", told)
		}
	})
}

func TestAWaitForASlotIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Outage
		r := newRoom(&door{}, &Service{HoldTime: 10 * time.Second, HoldRequests: 2}, &told)
		left := errors.New("left")
		leaving, leave := context.WithCancelCause(t.Context())
		ends, start := make(chan error, 2), time.Now()
		go func() { ends <- r.wait(leaving, start, 0, true) }()
		go func() { ends <- r.wait(t.Context(), start, 6*time.Second, true) }()
		synctest.Wait()
		var down *downError
		if err := r.wait(t.Context(), start, 0, true); !errors.As(err, &down) || down.cause() != causeDownFull {
			t.Errorf("the third: %v", err)
		}
		leave(left)
		if err := <-ends; err != left {
			t.Errorf("who left: %v", err)
		}
		if err := <-ends; !errors.As(err, &down) || down.cause() != causeDown || time.Since(start) != 4*time.Second {
			t.Errorf("who had waited for 6 s of 10: %v after %v", err, time.Since(start))
		}
		if o, lasts := r.state(); !lasts || o.Waiting != 0 || o.TurnedAway != 2 || o.Waited != 2 {
			t.Errorf("%+v, lasts %v", o, lasts)
		}
		r.leave()
	})
}

// Whoever tried may leave: somebody else goes on, without a word of it.
func TestThoseWhoWaitTakeTurnsAtTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Outage
		d := &door{takes: time.Second}
		r := newRoom(d, &Service{HoldTime: time.Minute}, &told)
		for range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			go r.wait(ctx, time.Now(), 0, true) //nolint:errcheck // it leaves
			time.Sleep(100 * time.Millisecond)
			defer cancel()
			time.AfterFunc(300*time.Millisecond, cancel)
		}
		d.open.Store(true)
		if err := r.wait(t.Context(), time.Now(), 0, true); err != nil {
			t.Error(err)
		}
	})
}

func TestAConnectThatFailedBeforeTheSlotAnsweredIsOldNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Outage
		r := newRoom(&door{}, &Service{}, &told)
		began := time.Now()
		time.Sleep(time.Second)
		r.open()
		r.close(began, errShutDoor)
		if r.shut.Load() || len(told) != 2 {
			t.Errorf("told %+v", told)
		}
	})
}

func TestARetiredTargetIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []Outage
		r := newRoom(&door{}, &Service{}, &told)
		ends := enter(t, r, 100)
		r.leave()
		synctest.Wait()
		if len(ends) != 100 {
			t.Errorf("%d of 100 were let go at once", len(ends))
		}
		r.close(time.Now(), errShutDoor)
		if err := r.wait(t.Context(), time.Now(), 0, true); err != nil || len(told) != 2 || !told[1].Left {
			t.Errorf("%v, told %+v", err, told)
		}
	})
}

// An announced stop comes before the slot refuses anything: that it takes connections
// is no news until it has gone.
func TestAnAnnouncedStopIsWaitedOutToTheEnd(t *testing.T) {
	for _, how := range []string{"refused", "told", "too late"} {
		synctest.Test(t, func(t *testing.T) {
			var told []Outage
			d := &door{}
			d.open.Store(true)
			r := newRoom(d, &Service{HoldTime: time.Minute}, &told)
			r.open()
			r.announce(errStopping, 10*time.Second)
			ends := enter(t, r, 3)
			r.open() // a probe that reached the old process
			time.Sleep(5 * time.Second)
			if len(ends) != 0 {
				t.Fatalf("%d were let go to a slot that is about to stop", len(ends))
			}
			switch how {
			case "refused":
				d.open.Store(false)
				time.Sleep(time.Second)
				d.open.Store(true)
			case "told":
				r.went()
			case "too late":
				time.Sleep(5 * time.Second)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if len(ends) != 3 {
				t.Errorf("%s: %d of 3 were let go", how, len(ends))
			}
		})
	}
}
