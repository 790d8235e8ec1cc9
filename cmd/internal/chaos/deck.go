package chaos

import (
	"context"
	"math/rand/v2"
	"time"

	"charactier-proxy/switcher"
)

// card is one kind of action.
type card struct {
	name string
	n    int // how many are in the deck
	play func(ctx context.Context, o *operator, h hand)
}

// hand are the random choices of one action. Each action draws all of them, so
// that a change to one changes no other.
type hand struct {
	pause    time.Duration // before it
	lasts    time.Duration
	service  string
	services []string // some of them, or all
	at       place
	active   bool // rather the active slot, whichever it is then
	coin     bool
	other    bool
}

// operations are what an operator does, one after the other.
var operations = []card{
	{"switch", 5, func(ctx context.Context, o *operator, h hand) { o.switchTo(ctx, h.services, false, h.coin) }},
	{"switch all", 2, func(ctx context.Context, o *operator, h hand) { o.switchTo(ctx, o.services, false, h.coin) }},
	{"forced switch", 2, func(ctx context.Context, o *operator, h hand) { o.switchTo(ctx, h.services, true, h.coin) }},
	{"rollback", 2, func(ctx context.Context, o *operator, h hand) { o.rollBack(ctx, h.services, h.other, h.coin) }},
	{"hold", 1, func(ctx context.Context, o *operator, h hand) {
		o.hold(ctx, h.services, func() { pause(ctx, h.lasts) })
	}},
	{"switch in a hold", 1, func(ctx context.Context, o *operator, h hand) {
		o.hold(ctx, h.services, func() { o.switchTo(ctx, h.services, false, h.coin) })
	}},
	{"kill in a hold", 1, func(ctx context.Context, o *operator, h hand) {
		o.hold(ctx, h.services, func() { o.kill(ctx, h.lasts/10, nil, 0) })
	}},
	{"abort", 1, func(ctx context.Context, o *operator, h hand) { o.abort(ctx, h.service) }},
	{"two at once", 1, func(ctx context.Context, o *operator, h hand) { o.race(ctx, h.service) }},
	{"restart", 2, func(ctx context.Context, o *operator, _ hand) { o.restart(ctx) }},
	{"kill", 2, func(ctx context.Context, o *operator, h hand) { o.kill(ctx, h.lasts/5, nil, 0) }},
	{"kill in a switch", 2, func(ctx context.Context, o *operator, h hand) { o.kill(ctx, h.lasts/5, h.services, h.lasts/100) }},
	{"kill late in a switch", 1, func(ctx context.Context, o *operator, h hand) { o.kill(ctx, h.lasts/5, h.services, h.lasts/20) }},
	{"lane", 2, func(ctx context.Context, o *operator, h hand) {
		o.reconfigure(ctx, h.coin, "watch", func(s *settings) { s.FastLane = !s.FastLane })
	}},
	{"addresses", 2, func(ctx context.Context, o *operator, h hand) {
		o.reconfigure(ctx, h.coin, "api", func(s *settings) { o.turn(s, h.at) })
	}},
	{"service", 1, func(ctx context.Context, o *operator, h hand) {
		o.reconfigure(ctx, h.coin, "signal", func(s *settings) { o.comeOrGo(s) })
	}},
	{"bad config", 1, func(ctx context.Context, o *operator, h hand) {
		o.reconfigure(ctx, h.coin, "watch", func(s *settings) { s.Broken = true })
		o.reconfigure(ctx, h.other, "watch", func(*settings) {})
	}},
}

// slotFaults are what happens to slots.
var slotFaults = []card{
	{string(slotKilled), 2, func(ctx context.Context, o *operator, h hand) {
		o.atSlot(h, func(s *slot) error { return s.killed(ctx, o.notes, h.lasts/2) })
	}},
	{string(slotStopped), 2, func(ctx context.Context, o *operator, h hand) {
		o.atSlot(h, func(s *slot) error { return s.stopped(ctx, o.notes) })
	}},
	{string(slotHung), 1, func(ctx context.Context, o *operator, h hand) {
		o.atSlot(h, func(s *slot) error { return s.hung(ctx, o.notes, h.lasts) })
	}},
}

// linkFaults are what happens between daemon and slots, and to the disk.
var linkFaults = []card{
	onLink(linkRefused, 1, 0), onLink(linkReset, 1, 0), onLink(linkCut, 2, 0), onLink(linkDead, 2, 0),
	onLink(linkDelayed, 1, 30*time.Millisecond), onLink(linkSlow, 1, time.Millisecond),
	onDisk(diskFull, (*disk).fill, (*disk).empty),
	onDisk(diskReadOnly, (*disk).freeze, (*disk).thaw),
}

func onLink(kind faultKind, n int, pace time.Duration) card {
	return card{string(kind), n, func(ctx context.Context, o *operator, h hand) {
		o.atSlot(h, func(s *slot) error {
			f := o.notes.breaks(kind, s.place)
			defer o.notes.mended(f)
			return s.link.misbehave(ctx, kind, h.lasts/2, pace)
		})
	}}
}

func onDisk(kind faultKind, spoil, mend func(*disk) error) card {
	return card{string(kind), 1, func(ctx context.Context, o *operator, h hand) {
		if !o.disk.mounted {
			return
		}
		f := o.notes.breaks(kind, place{})
		o.fail(spoil(o.disk))
		o.notes.did("%s", kind)
		pause(ctx, h.lasts)
		o.fail(mend(o.disk))
		o.notes.mended(f)
		o.notes.did("%s is over", kind)
	}}
}

// atSlot breaks a slot, once nobody else does.
func (w *world) atSlot(h hand, breakIt func(*slot) error) {
	if slot, known := w.model.active(h.service); known && h.active {
		h.at.Slot = slot
	}
	s := w.slots[h.at]
	s.busy.Lock()
	defer s.busy.Unlock()
	w.fail(breakIt(s))
}

// track is one who acts.
type track struct {
	name  string
	cards []card
	// rest is how much longer than the operator it waits between two actions, so
	// that most of the time most things are whole.
	rest time.Duration
}

var tracks = []track{{"operator", operations, 1}, {"slots", slotFaults, 6}, {"links", linkFaults, 3}}

// track plays one deck after the other, each shuffled anew.
func (o *operator) track(ctx context.Context, t track, random *rand.Rand) {
	var deck []card
	for _, c := range t.cards {
		for range c.n {
			deck = append(deck, c)
		}
	}
	for turn := 1; ; turn++ {
		random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		for _, c := range deck {
			h := o.draw(random)
			pause(ctx, t.rest*h.pause)
			if ctx.Err() != nil {
				return
			}
			o.notes.did("%s: %s (%v, at %s, or active %t, lasts %s, %t, %t)", t.name, c.name, h.services, h.at, h.active, h.lasts, h.coin, h.other)
			c.play(ctx, o, h)
		}
	}
}

func (w *world) draw(random *rand.Rand) hand {
	h := hand{
		pause: 20*time.Millisecond + time.Duration(random.Int64N(int64(300*time.Millisecond))),
		lasts: 200*time.Millisecond + time.Duration(random.Int64N(int64(2*time.Second))).Truncate(time.Millisecond),
		coin:  random.IntN(2) == 0, other: random.IntN(2) == 0,
		service: w.services[random.IntN(len(w.services))],
	}
	h.services = []string{h.service}
	if random.IntN(3) == 0 {
		h.services = w.services
	}
	h.active = random.IntN(3) > 0
	h.at = place{h.service, switcher.Slot([]string{"blue", "green"}[random.IntN(2)])}
	return h
}
