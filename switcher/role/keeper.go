package role

import (
	"context"
	"sync"
	"time"

	"charactier-proxy/switcher"
)

// Options are what a [Keeper] needs.
type Options struct {
	Service string
	// Process are the ways to tell a slot's process, Beside the ways to see to
	// what runs beside it. All of a slot's ways must succeed.
	Process, Beside map[switcher.Slot][]Way
	// Timeout bounds each way, and how long a slot that becomes active waits for
	// the other to yield.
	Timeout time.Duration
	// Refresh is how often a slot is told again what it took already.
	Refresh time.Duration

	// Wanted reads the state. It must not call the keeper.
	Wanted func() Wanted
	// Release names the release that a slot runs; nil if that is not known.
	Release func(switcher.Slot) string
	// Dead reports whether a slot's process is known to be gone; nil if that is
	// never known.
	Dead func(switcher.Slot) bool
	// OnChange is told of each role that a slot took and did not have before, of
	// the first of several failures and of their end, one call at a time for each
	// slot. Nil means nobody is told.
	OnChange func(switcher.Slot, Status)
}

// Keeper sees to it that both slots of one service have the role that they
// should.
type Keeper struct {
	opts Options

	mu    sync.Mutex
	posts map[switcher.Slot]*post
}

// post is what is known of one slot.
type post struct {
	order Order
	since time.Time // when order became what is wanted
	due   time.Time // when it is to be given next
	dead  bool
	lives int // counts its processes; what an earlier one answered is worth nothing

	took     Order // the zero order if the process took none
	tookAt   time.Time
	said     Role   // what was told of it last
	yielded  uint64 // the generation for which it is known not to be in the other's way
	err      error
	failures int // in a row

	giveUp context.CancelFunc // ends the attempt under way; never nil
	wake   chan struct{}      // something has changed; holds one
}

// New returns a keeper that has told nobody yet.
func New(o Options) *Keeper {
	if o.Release == nil {
		o.Release = func(switcher.Slot) string { return "" }
	}
	if o.Dead == nil {
		o.Dead = func(switcher.Slot) bool { return false }
	}
	if o.OnChange == nil {
		o.OnChange = func(switcher.Slot, Status) {}
	}
	k := &Keeper{opts: o, posts: map[switcher.Slot]*post{}}
	for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
		k.posts[slot] = &post{giveUp: func() {}, wake: make(chan struct{}, 1)}
	}
	return k
}

// Nudge makes the keeper look at once. It does not block.
func (k *Keeper) Nudge() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lookLocked()
	for _, p := range k.posts {
		signal(p.wake)
	}
}

// Restarted says that a slot's process is another one than before, which does
// not know its role. It does not block.
func (k *Keeper) Restarted(slot switcher.Slot) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.posts[slot].anew()
}

// anew forgets what the process before took.
func (p *post) anew() {
	p.lives++
	p.took, p.tookAt = Order{}, time.Time{}
	p.dueNow()
}

// Status returns what is known of a slot now.
func (k *Keeper) Status(slot switcher.Slot) Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lookLocked()
	return k.posts[slot].status()
}

func (p *post) status() Status {
	s := Status{Wanted: p.order.Role, WantedSince: p.since, Told: p.took.Role, Since: p.tookAt, Err: p.err}
	if p.took.Role == p.order.Role && p.took.Generation != p.order.Generation {
		// It may have had another role in between without taking it.
		s.Told, s.Since = "", time.Time{}
	}
	return s
}

// lookLocked reads what is wanted. An attempt to tell anything else is given up.
func (k *Keeper) lookLocked() {
	w := k.opts.Wanted()
	for slot, p := range k.posts {
		o := Order{Role: Standby, Service: k.opts.Service, Slot: slot, Generation: w.Generation}
		if slot == w.Active {
			o.Role = Active
		}
		if o.Role != p.order.Role || o.Generation != p.order.Generation {
			p.order, p.since, p.err, p.failures = o, time.Now(), nil, 0
			p.dueNow()
		}
		if dead := k.opts.Dead(slot); dead != p.dead {
			p.dead = dead
			p.anew()
		}
	}
}

// dueNow has the slot told as soon as it may.
func (p *post) dueNow() {
	p.due, p.failures = time.Time{}, 0
	p.giveUp()
	signal(p.wake)
}

// Keep tells one slot its role until ctx ends. It must run only once at a time
// for each slot.
func (k *Keeper) Keep(ctx context.Context, slot switcher.Slot) {
	for ctx.Err() == nil {
		if a, wait := k.next(ctx, slot); wait > 0 {
			k.posts[slot].rest(ctx, wait)
		} else {
			k.conclude(ctx, a, k.try(a))
		}
	}
}

// rest waits until something has changed, or for that long.
func (p *post) rest(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.wake:
	case <-ctx.Done():
	}
}

// signal leaves a note in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
