package proxy

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstPause is the time from a refused connect to the next attempt, and
	// maxPause the longest: it grows by half each time. However many wait, one at a
	// time attempts.
	firstPause = 50 * time.Millisecond
	maxPause   = 250 * time.Millisecond
	// firstLot is how many requests are let go at once when the slot takes
	// connections again. Each lotPause twice as many follow: an application that has
	// just come up gets neither all of them at once nor any of them late.
	firstLot = 16
	lotPause = 5 * time.Millisecond
)

// Outage is a time in which a slot takes no connections, so that the requests for
// it wait. It begins with a request that could not connect.
type Outage struct {
	Service, Slot, Address string
	// Since is when a connect failed first, and Until when the outage was over; zero
	// while it lasts.
	Since, Until time.Time
	// Err is why the newest attempt failed.
	Err error
	// Waiting is the number of requests that wait now. Waited counts all that did,
	// and TurnedAway those that waited for too long or were too many.
	Waiting, Waited, TurnedAway int64
	// Longest is the longest wait of a request that was let go.
	Longest time.Duration
	// Left says that it is over for us only: the traffic moved to another target.
	Left bool
}

// waitingRoom is where requests wait while their target takes no connections.
// Nothing of them was sent anywhere. It owns no goroutine: one of those who wait
// tries to connect for all of them.
type waitingRoom struct {
	way    wayToSlot
	tell   func(Outage)  // of begin and end, with mu held
	waited *atomic.Int64 // counts those who wait
	limit  int64
	bound  time.Duration

	shut  atomic.Bool   // there are requests here, or will be
	stops atomic.Int64  // that were announced
	turn  chan struct{} // holds the right to try

	mu       sync.Mutex
	gone     bool // the target was retired: nobody waits here any more
	letting  bool // the slot takes connections, and those who wait are let go
	lot      int  // how many of them at once
	timer    *time.Timer
	queue    list.List // of *roomPlace, in the order in which they came
	answered time.Time // when the last outage was over
	going    time.Time // until then the slot is about to go, although it takes connections still
	pause    time.Duration
	next     time.Time // when to try again
	outage   Outage    // the one that lasts, or was last
}

// roomPlace is one request in the waiting room.
type roomPlace struct {
	came time.Time
	open chan struct{} // closed when it may go
	left bool          // it is not in the queue any more
}

// wayToSlot is what a waiting room needs of the way to its slot.
type wayToSlot interface {
	// Connect reports whether the slot takes connections, by making one.
	Connect(context.Context) error
	// Pause closes the idle connections and keeps no further one, until it is
	// called with false. A process that is to end may wait for them: they would
	// keep it, and all who wait for its successor, for seconds.
	Pause(paused bool)
}

func newWaitingRoom(s *Service, slot string, way wayToSlot, waited *atomic.Int64, tell func(Outage)) *waitingRoom {
	if tell == nil {
		tell = func(Outage) {}
	}
	r := &waitingRoom{way: way, tell: tell, waited: waited, limit: int64(s.HoldRequests), bound: s.HoldTime, turn: make(chan struct{}, 1)}
	r.outage = Outage{Service: s.Name, Slot: slot, Address: s.Slots[slot]}
	r.turn <- struct{}{}
	return r
}

// errWaitedTooLong ends a wait in a waiting room.
var errWaitedTooLong = errors.New("the slot took no connections for too long")

// downError is a request that its slot did not take and that could not wait, or
// not any longer. Nothing was sent anywhere.
type downError struct {
	target *target // nil until the claim knows it
	full   bool
	outage Outage
}

func (e *downError) Error() string {
	why := "for longer than a request waits"
	if e.full {
		why = "and too many requests wait for it"
	}
	return fmt.Sprintf("%s takes no connections since %s, %s: %v", e.outage.Slot, e.outage.Since.Format(time.RFC3339), why, e.outage.Err)
}

func (e *downError) cause() cause {
	if e.full {
		return causeDownFull
	}
	return causeDown
}

// close notes that a connect failed which began at that time. It does not where
// the slot has taken connections since, or is not to be used any more: then the
// request just claims anew.
func (r *waitingRoom) close(began time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone || began.Before(r.answered) {
		return
	}
	r.going = time.Time{}
	r.closeLocked(err)
}

// announce has requests wait for a slot that is about to go, before it refuses
// any: until it has come again, or for that long if it does not go.
func (r *waitingRoom) announce(why error, most time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.gone {
		r.stops.Add(1) // before anybody counts the claims
		r.going = time.Now().Add(most)
		r.closeLocked(why)
	}
}

// went says that a slot that was to go has gone.
func (r *waitingRoom) went() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.going = time.Time{}
}

func (r *waitingRoom) closeLocked(err error) {
	r.outage.Err = err
	if r.shut.Load() && !r.letting {
		return
	}
	r.stopLetting()
	r.way.Pause(true)
	r.pause = firstPause
	r.next = time.Now().Add(r.pause)
	if r.shut.Load() {
		return
	}
	o := &r.outage
	*o = Outage{Service: o.Service, Slot: o.Slot, Address: o.Address, Since: time.Now(), Err: err}
	r.shut.Store(true)
	r.tell(*o)
}

// open says that the slot takes connections.
func (r *waitingRoom) open() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if !r.shut.Load() || r.letting || now.Before(r.going) {
		return
	}
	r.letting, r.lot, r.answered = true, firstLot, now
	r.way.Pause(false)
	r.letGo()
}

// leave ends everything here: the target was retired, and its requests claim
// another.
func (r *waitingRoom) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	if !r.shut.Load() {
		return
	}
	r.outage.Left = !r.letting
	r.lot = r.queue.Len()
	r.letGo()
}

// letGo lets the next lot go. r.mu is held.
func (r *waitingRoom) letGo() {
	for range min(r.lot, r.queue.Len()) {
		w := r.queue.Remove(r.queue.Front()).(*roomPlace)
		w.left = true
		r.outage.Longest = max(r.outage.Longest, time.Since(w.came))
		close(w.open)
	}
	if r.queue.Len() == 0 {
		r.end()
		return
	}
	r.lot *= 2
	r.timer = time.AfterFunc(lotPause, r.letMore)
}

func (r *waitingRoom) letMore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.letting {
		r.letGo()
	}
}

// stopLetting keeps those who still wait. r.mu is held.
func (r *waitingRoom) stopLetting() {
	r.letting = false
	if r.timer != nil {
		r.timer.Stop()
	}
}

// end ends the outage. r.mu is held.
func (r *waitingRoom) end() {
	r.stopLetting()
	r.shut.Store(false)
	r.outage.Until, r.outage.Waiting = time.Now(), 0
	r.tell(r.outage)
}

// wait blocks until the request may go to whatever is active then. It came at
// that time and waited that long already; anew says that it has not waited
// here before. It fails with a *downError or ctx's cause.
func (r *waitingRoom) wait(ctx context.Context, came time.Time, waited time.Duration, anew bool) error {
	place, err := r.join(came, anew)
	if place == nil {
		return err
	}
	defer r.quit(place)
	if r.bound > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.bound-waited, errWaitedTooLong)
		defer cancel()
	}
	w := place.Value.(*roomPlace)
	for {
		select {
		case <-w.open:
			return nil
		case <-ctx.Done():
			return r.turnAway(context.Cause(ctx))
		case <-r.turn:
			r.try(ctx, w)
		}
	}
}

// join takes a place in the queue. It returns nil without an error where there is
// nothing to wait for any more.
func (r *waitingRoom) join(came time.Time, anew bool) (*list.Element, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.shut.Load():
		return nil, nil
	case r.limit > 0 && int64(r.queue.Len()) >= r.limit:
		r.outage.TurnedAway++
		return nil, &downError{full: true, outage: r.outage}
	}
	if anew {
		r.outage.Waited++
		r.waited.Add(1)
	}
	w := &roomPlace{came: came, open: make(chan struct{})}
	for e := r.queue.Back(); e != nil; e = e.Prev() {
		if !e.Value.(*roomPlace).came.After(came) {
			return r.queue.InsertAfter(w, e), nil
		}
	}
	return r.queue.PushFront(w), nil
}

// quit gives up a place.
func (r *waitingRoom) quit(place *list.Element) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := place.Value.(*roomPlace); !w.left {
		w.left = true
		r.queue.Remove(place)
	}
}

// turnAway makes an error of why a wait ended.
func (r *waitingRoom) turnAway(why error) error {
	if why != errWaitedTooLong {
		return why
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outage.TurnedAway++
	return &downError{outage: r.outage}
}

// try connects once, when it is time, unless its request goes or leaves before, and
// gives back the turn.
func (r *waitingRoom) try(ctx context.Context, w *roomPlace) {
	defer func() { r.turn <- struct{}{} }()
	r.mu.Lock()
	due := time.NewTimer(time.Until(r.next))
	r.mu.Unlock()
	defer due.Stop()
	select {
	case <-due.C:
	case <-w.open:
		return
	case <-ctx.Done():
		return
	}
	err := r.way.Connect(ctx)
	switch {
	case err == nil:
		r.open()
		r.tryLater()
	case ctx.Err() == nil:
		r.failed(err)
	}
}

// failed notes that an attempt failed.
func (r *waitingRoom) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pause = min(r.pause+r.pause/2, maxPause)
	r.next = time.Now().Add(r.pause)
	r.going = time.Time{}
	r.outage.Err = err
}

// tryLater puts the next attempt off where one succeeded: either there is none, or
// the slot has yet to go.
func (r *waitingRoom) tryLater() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = time.Now().Add(firstPause)
}

// state returns the outage that lasts, if one does.
func (r *waitingRoom) state() (Outage, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.outage
	o.Waiting = int64(r.queue.Len())
	return o, r.shut.Load()
}
