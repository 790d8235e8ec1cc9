package switcher

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var errEnough = errors.New("enough")

// collect returns the events after seq until one that is last.
func collect(t *testing.T, b *Broker, after, last uint64) []Event {
	t.Helper()
	var events []Event
	err := b.Subscribe(t.Context(), after, func(e Event) error {
		events = append(events, e)
		if e.Seq >= last {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Error(err)
	}
	return events
}

func publish(b *Broker, level string, n int) {
	for i := range n {
		b.Publish(Event{Kind: "switch", Level: level, Text: fmt.Sprint(i)})
	}
}

func TestASubscriberGetsWhatIsRememberedThenWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBroker()
		publish(b, LevelInfo, 3)
		got := make(chan Event, 10)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- b.Subscribe(ctx, 1, func(e Event) error { got <- e; return nil })
		}()
		synctest.Wait()
		publish(b, LevelInfo, 1)
		synctest.Wait()
		for _, want := range []uint64{2, 3, 4} {
			if e := <-got; e.Seq != want || e.Time.IsZero() {
				t.Errorf("event is %+v, want number %d", e, want)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestFailuresAreRememberedLonger(t *testing.T) {
	b := NewBroker()
	publish(b, LevelError, 1)
	publish(b, LevelInfo, keepEvents+10)
	events := collect(t, b, 0, keepEvents+11)
	if len(events) != keepEvents+1 || events[0].Seq != 1 || events[1].Seq != 12 {
		t.Errorf("%d events, the first are %+v", len(events), events[:2])
	}
	publish(b, LevelError, keepEvents+keepFailures+50)
	if events = collect(t, b, 0, b.seq); len(events) != keepEvents+keepFailures {
		t.Errorf("%d events are remembered", len(events))
	}
}

func TestASlowReaderIsToldWhatItMissed(t *testing.T) {
	b := NewBroker()
	publish(b, LevelInfo, 5)
	publish(b, LevelError, 1)
	publish(b, LevelInfo, keepEvents)
	events := collect(t, b, 2, keepEvents+6)
	if events[0].Seq != 6 || events[0].Level != LevelError {
		t.Errorf("first event is %+v, want the failure", events[0])
	}
	if gap := events[1]; gap.Kind != KindGap || gap.Text != "3 events were forgotten before they could be read" {
		t.Errorf("second event is %+v, want the gap", gap)
	}
	if len(events) != keepEvents+2 {
		t.Errorf("%d events", len(events))
	}
}

func TestANumberOfAnEarlierRunMeansFromTheStart(t *testing.T) {
	b := NewBroker()
	publish(b, LevelInfo, 2)
	if events := collect(t, b, 500, 2); len(events) != 2 {
		t.Errorf("events are %+v", events)
	}
}

func TestAReaderThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBroker()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- b.Subscribe(ctx, 0, func(Event) error { <-ctx.Done(); return ctx.Err() })
		}()
		publish(b, LevelInfo, 3*keepEvents)
		cancel()
		<-ended
	})
}

func TestASwitchIsToldToThoseWhoWatch(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, to(Green, "backend"))
	events := collect(t, w.events, 1, 4)
	want := []Event{
		{Kind: "switch", Service: "backend", Slot: Green, Op: rec.ID, Level: LevelInfo, Text: "switch of backend to green begun by root"},
		{Kind: "drain", Service: "backend", Slot: Blue, Op: rec.ID, Level: LevelInfo, Text: "backend blue: 3 in flight at the swap, 0 requests and 0 streams still open after 0s"},
	}
	for _, wanted := range want {
		found := false
		for _, e := range events {
			wanted.Seq, wanted.Time = e.Seq, e.Time
			found = found || e == wanted
		}
		if !found {
			t.Errorf("%+v is not among %+v", wanted, events)
		}
	}
}

func TestIDsSortByTimeAndNeverRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s ids
		last := ""
		for range 100_000 {
			id := s.next(time.Now())
			if len(id) != len("0000-0000-000") || id <= last {
				t.Fatalf("%q after %q", id, last)
			}
			last = id
		}
	})
}
