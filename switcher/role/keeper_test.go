package role

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/switcher"
)

const (
	timeout = 5 * time.Second
	refresh = 15 * time.Second
)

// stage is a keeper with two slots that do as they are told, unless a test
// says otherwise.
type stage struct {
	*testing.T
	keeper *Keeper
	end    func() // ends the keeper; called at the end in any case

	mu     sync.Mutex
	wanted Wanted
	dead   map[switcher.Slot]bool
	tells  []string // "green active 2", in the order in which they were taken
	fails  map[switcher.Slot]error
	silent map[switcher.Slot]bool
	news   []string
}

// newStage must be called within a synctest bubble.
func newStage(t *testing.T, adjust func(*stage, *Options)) *stage {
	s := &stage{
		T: t, wanted: Wanted{switcher.Blue, 1},
		dead: map[switcher.Slot]bool{}, fails: map[switcher.Slot]error{}, silent: map[switcher.Slot]bool{},
	}
	o := Options{
		Service: "backend", Timeout: timeout, Refresh: refresh,
		Process:  map[switcher.Slot][]Way{switcher.Blue: {wayFunc(s.tell)}, switcher.Green: {wayFunc(s.tell)}},
		Wanted:   func() Wanted { s.mu.Lock(); defer s.mu.Unlock(); return s.wanted },
		Dead:     func(slot switcher.Slot) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.dead[slot] },
		OnChange: s.changed,
	}
	if adjust != nil {
		adjust(s, &o)
	}
	s.keeper = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	var both sync.WaitGroup
	for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
		both.Go(func() { s.keeper.Keep(ctx, slot) })
	}
	s.end = func() { cancel(); both.Wait() }
	return s
}

type wayFunc func(context.Context, Order) error

func (w wayFunc) Tell(ctx context.Context, o Order) error { return w(ctx, o) }

func (s *stage) tell(ctx context.Context, o Order) error {
	s.mu.Lock()
	silent, err := s.silent[o.Slot], s.fails[o.Slot]
	s.mu.Unlock()
	if silent {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if err == nil {
		s.note(o)
	}
	return err
}

func (s *stage) note(o Order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tells = append(s.tells, fmt.Sprint(o.Slot, " ", o.Role, " ", o.Generation))
}

func (s *stage) changed(slot switcher.Slot, st Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.Err != nil {
		s.news = append(s.news, fmt.Sprint(slot, " failed: ", st.Err))
		return
	}
	s.news = append(s.news, fmt.Sprint(slot, " is ", st.Told))
}

// set changes the world and lets the keeper see it.
func (s *stage) set(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	s.keeper.Nudge()
	synctest.Wait()
}

// told returns what was taken since the last call.
func (s *stage) told() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.tells = nil }()
	return s.tells
}

func (s *stage) wantTold(want ...string) {
	s.Helper()
	if diff := cmp.Diff(want, s.told()); diff != "" {
		s.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestTheSlotThatBecomesStandbyIsToldFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.wantTold("green standby 1", "blue active 1")
		s.set(func() { s.wanted = Wanted{switcher.Green, 2} })
		s.wantTold("blue standby 2", "green active 2")
		s.set(func() { s.wanted = Wanted{switcher.Blue, 3} })
		s.wantTold("green standby 3", "blue active 3")
		if got := s.keeper.Status(switcher.Blue); !got.Taken() || got.Wanted != Active || !got.Since.Equal(time.Now()) {
			t.Errorf("status of blue: %+v", got)
		}
	})
}

func TestASlotIsToldAgainNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		began := s.keeper.Status(switcher.Blue).Since
		time.Sleep(refresh)
		if got := s.told(); len(got) != 2 {
			t.Errorf("after a refresh: %q", got)
		}
		if got := s.keeper.Status(switcher.Blue).Since; !got.Equal(began) {
			t.Errorf("being told again moved the beginning from %v to %v", began, got)
		}
		if diff := cmp.Diff([]string{"green is standby", "blue is active"}, s.news); diff != "" {
			t.Errorf("news (-want +got):\n%s", diff)
		}
	})
}

// A change that nobody announced is found by the next look.
func TestWhatNobodyAnnouncedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.mu.Lock()
		s.wanted = Wanted{switcher.Green, 2}
		s.mu.Unlock()
		time.Sleep(refresh)
		s.wantTold("blue standby 2", "green active 2")
	})
}

func TestASilentOldSlotDelaysTheNewOneByOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.set(func() { s.wanted, s.silent[switcher.Blue] = Wanted{switcher.Green, 2}, true })
		s.wantTold()
		time.Sleep(timeout - time.Nanosecond)
		s.wantTold()
		time.Sleep(time.Nanosecond)
		s.wantTold("green active 2")
		// And once it hears again, it is told.
		s.set(func() { s.silent[switcher.Blue] = false })
		time.Sleep(timeout + maxPause)
		s.wantTold("blue standby 2")
	})
}

func TestAnOldSlotWhereNobodyListensDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.set(func() {
			s.wanted, s.fails[switcher.Blue] = Wanted{switcher.Green, 2}, fmt.Errorf("telling it: %w", ErrNobody)
		})
		s.wantTold("green active 2")
		if slices.ContainsFunc(s.news, func(n string) bool { return n == "blue failed: telling it: nobody listens" }) {
			t.Error("that a standby is not there is no news")
		}
	})
}

func TestASlotThatRefusesIsToldUntilItTakesItsRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.set(func() { s.wanted, s.fails[switcher.Green] = Wanted{switcher.Green, 2}, errors.New("503") })
		time.Sleep(time.Minute)
		s.wantTold("blue standby 2", "blue standby 2", "blue standby 2", "blue standby 2", "blue standby 2")
		if got := s.keeper.Status(switcher.Green); got.Taken() || got.Told != Standby || got.Err == nil || time.Since(got.WantedSince) != time.Minute {
			t.Errorf("status of green: %+v", got)
		}
		s.set(func() { s.fails[switcher.Green] = nil })
		time.Sleep(maxPause)
		if got := s.told(); !slices.Contains(got, "green active 2") {
			t.Errorf("told %q", got)
		}
		want := []string{"green is standby", "blue is active", "blue is standby", "green failed: 503", "green is active"}
		slices.Sort(want[2:4])
		slices.Sort(s.news[2:4])
		if diff := cmp.Diff(want, s.news); diff != "" {
			t.Errorf("news, of many failures the first (-want +got):\n%s", diff)
		}
	})
}

func TestANewProcessIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.set(func() { s.fails[switcher.Blue] = ErrNobody })
		s.keeper.Restarted(switcher.Blue)
		synctest.Wait()
		if got := s.keeper.Status(switcher.Blue); got.Told != "" {
			t.Errorf("a process that was told nothing has the role %q", got.Told)
		}
		s.set(func() { s.fails[switcher.Blue] = nil })
		s.keeper.Restarted(switcher.Blue)
		s.wantTold("blue active 1")
	})
}

func TestADeadProcessIsToldNothingUntilItIsThereAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.set(func() { s.dead[switcher.Blue] = true })
		time.Sleep(refresh + time.Second)
		s.wantTold("green standby 1")
		if got := s.keeper.Status(switcher.Blue); got.Told != "" || got.Err != nil {
			t.Errorf("status of a dead slot: %+v", got)
		}
		s.set(func() { s.wanted = Wanted{switcher.Green, 2} })
		s.wantTold("green active 2") // the dead one is not waited for
		s.set(func() { s.dead[switcher.Blue] = false })
		s.wantTold("blue standby 2")
	})
}

// A queue worker of a slot that was stopped must not go on.
func TestWhatRunsBesideADeadProcessIsSeenTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(s *stage, o *Options) {
			beside := wayFunc(func(_ context.Context, o Order) error {
				s.note(Order{Slot: "worker of " + o.Slot, Role: o.Role, Generation: o.Generation})
				return nil
			})
			o.Beside = map[switcher.Slot][]Way{switcher.Blue: {beside}, switcher.Green: {beside}}
		})
		defer s.end()
		s.wantTold("green standby 1", "worker of green standby 1", "blue active 1", "worker of blue active 1")
		s.set(func() { s.dead[switcher.Blue], s.wanted = true, Wanted{switcher.Green, 2} })
		s.wantTold("worker of blue standby 2", "green active 2", "worker of green active 2")
	})
}

// The process has yielded, what runs beside it has not.
func TestTheNewSlotWaitsForWhatRunsBesideTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(_ *stage, o *Options) {
			o.Beside = map[switcher.Slot][]Way{switcher.Blue: {wayFunc(func(context.Context, Order) error {
				return errors.New("access denied")
			})}}
		})
		defer s.end()
		s.set(func() { s.wanted, s.fails[switcher.Blue] = Wanted{switcher.Green, 2}, ErrNobody })
		s.told()
		time.Sleep(timeout - time.Nanosecond)
		s.wantTold()
		time.Sleep(time.Nanosecond)
		s.wantTold("green active 2")
	})
}

func TestANewerOrderDoesNotWaitForAnOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.set(func() { s.wanted, s.silent[switcher.Green] = Wanted{switcher.Green, 2}, true })
		s.wantTold("blue standby 2")
		s.set(func() { s.wanted, s.silent[switcher.Green] = Wanted{switcher.Blue, 3}, false })
		s.wantTold("green standby 3", "blue active 3")
		for _, n := range s.news {
			if n == "green failed: context canceled" {
				t.Error("an order that was given up was told of as a failure")
			}
		}
	})
}

// It was active, then should have been standby and never heard of it, and is
// wanted again: only its own word says that it is active.
func TestARoleOfAnEarlierTimeIsNoRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		defer s.end()
		s.told()
		s.set(func() { s.wanted, s.silent[switcher.Blue] = Wanted{switcher.Green, 2}, true })
		if got := s.keeper.Status(switcher.Blue); got.Told != Active {
			t.Errorf("a slot that was not reached says %q", got.Told)
		}
		s.set(func() { s.wanted = Wanted{switcher.Blue, 3} })
		if got := s.keeper.Status(switcher.Blue); got.Taken() || got.Told != "" {
			t.Errorf("a slot that took its role in an earlier generation says %q", got.Told)
		}
	})
}

func TestAnEndGivesUpWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, nil)
		s.told()
		s.set(func() { s.wanted, s.silent[switcher.Blue] = Wanted{switcher.Green, 2}, true })
		before := time.Now()
		s.end()
		if took := time.Since(before); took > 0 {
			t.Errorf("ending took %v", took)
		}
	})
}
