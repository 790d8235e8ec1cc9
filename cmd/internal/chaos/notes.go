package chaos

import (
	"fmt"
	"slices"
	"sync"

	"charactier-proxy/switcher"
)

// place is one slot of one service.
type place struct {
	Service string        `json:"service,omitempty"`
	Slot    switcher.Slot `json:"slot,omitempty"`
}

func (p place) String() string { return p.Service + "/" + string(p.Slot) }

// visit is one request, or one stream, as its client saw it.
type visit struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Way     string `json:"way"` // direct, nginx, untrusted
	Service string `json:"service"`
	Method  string `json:"method"`
	Begun   moment `json:"begun"` // before its first byte was written
	Ended   moment `json:"ended"` // after the last one was read
	// Slot and Life are who answered, if the answer says so.
	Slot switcher.Slot `json:"slot,omitempty"`
	Life string        `json:"life,omitempty"`
	// Symptom is what went wrong; empty means nothing did.
	Symptom symptom `json:"symptom,omitempty"`
	Detail  string  `json:"detail,omitempty"`
}

// sighting is a request that arrived at a slot.
type sighting struct {
	place
	Life   string `json:"life"`
	At     moment `json:"at"`
	Method string `json:"method"`
}

// fault is something that was broken, from before it was until after it was
// mended. A deed of the operator's that clients may notice, such as a hold, is
// one too.
type fault struct {
	Kind faultKind `json:"kind"`
	// At is what it touches; without a slot all slots of the service, and without
	// a service everything.
	At    place  `json:"at"`
	Begun moment `json:"begun"`
	Ended moment `json:"ended"`
	// Sure is when it had begun for certain; zero if that is not known.
	Sure moment `json:"sure,omitempty"`
	// Nginx is when clients behind nginx are not touched by it any more, if that
	// is later: nginx may take a dead connection from its pool before it reads
	// that it is dead.
	Nginx moment `json:"nginx,omitempty"`
}

// deed is one line of the log of actions.
type deed struct {
	At   moment `json:"at"`
	Text string `json:"deed"`
}

// breach is a violation that was noticed while the run went on.
type breach struct {
	At      moment
	Promise string // P1 to S5, or "" for none of them
	Text    string
}

// notes are what everybody writes down for the judge.
type notes struct {
	mu       sync.Mutex
	begun    moment
	visits   []visit
	faults   []*fault
	deeds    []deed
	breaches []breach
	lost     map[faultKind]int
}

func newNotes() *notes {
	return &notes{begun: now(), lost: map[faultKind]int{}}
}

func (n *notes) visited(v visit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.visits = append(n.visits, v)
}

// breaks notes that something is about to be broken; mended that it is whole
// again.
func (n *notes) breaks(kind faultKind, at place) *fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := &fault{Kind: kind, At: at, Begun: now(), Ended: never}
	n.faults = append(n.faults, f)
	return f
}

// sure notes that what was about to be broken is.
func (n *notes) sure(f *fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.Sure = now()
}

func (n *notes) mended(f *fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.Ended = now()
}

// mendedAt is for faults of which the end was seen before it could be noted,
// and which clients behind nginx may meet until now.
func (n *notes) mendedAt(f *fault, ended moment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f.Ended, f.Nginx = ended, now()
}

// overlaps reports whether a fault of one of the kinds touched the service
// between two moments; no service is all of them.
func (n *notes) overlaps(service string, from, till moment, kinds ...faultKind) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.faults, func(f *fault) bool {
		here := f.At.Service == "" || service == "" || f.At.Service == service
		return here && f.Begun < till && from < f.Ended && slices.Contains(kinds, f.Kind)
	})
}

// touched reports whether a fault of one of the kinds touched the slot between
// two moments.
func (n *notes) touched(at place, from, till moment, kinds ...faultKind) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.faults, func(f *fault) bool {
		return f.At == at && f.Begun < till && from < f.Ended && slices.Contains(kinds, f.Kind)
	})
}

// wasOut reports whether the slot was certainly not fit for traffic for all the
// time between two moments.
func (n *notes) wasOut(at place, from, till moment) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.faults, func(f *fault) bool {
		return f.At == at && f.Sure != 0 && f.Sure < from && till < f.Ended
	})
}

// loses notes that a state was lost.
func (n *notes) loses(by faultKind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost[by]++
}

func (n *notes) did(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deeds = append(n.deeds, deed{now(), fmt.Sprintf(format, args...)})
}

func (n *notes) breach(promise, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.breaches = append(n.breaches, breach{now(), promise, fmt.Sprintf(format, args...)})
}

// tail is the end of the log of actions.
func (n *notes) tail(most int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.around(n.deeds[max(0, len(n.deeds)-most):])
}

func (n *notes) around(deeds []deed) string {
	text := ""
	for _, d := range deeds {
		text += fmt.Sprintf("  %8.3fs %s\n", d.At.since(n.begun).Seconds(), d.Text)
	}
	return text
}
