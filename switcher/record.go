package switcher

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Actor is who asked for an operation.
type Actor struct {
	UID     uint32 `json:"uid"`
	User    string `json:"user"`
	PID     int32  `json:"pid,omitempty"`
	Command string `json:"command,omitempty"`
}

// String returns the user's name, or the user's number where it has none.
func (a Actor) String() string {
	if a.User != "" {
		return a.User
	}
	return fmt.Sprintf("uid %d", a.UID)
}

// Request is one wish to change something.
type Request struct {
	// Services narrows the operation; empty means all of them.
	Services []string
	// To is the wanted slot; empty means each service's other one. A rollback
	// knows where it goes and ignores it.
	To Slot
	// Force skips the health check (S3) and the refusal to return to a slot that
	// was rolled back from.
	Force  bool
	Reason string
	Actor  Actor
	// Wait is how long the target may take to become healthy: so long are failed
	// checks followed by another one. Zero: it must be healthy now. A check that
	// has begun is not cut short.
	Wait time.Duration
	// Within is the ID of the reservation that the operation is a part of; empty
	// means that it stands alone, and is refused while there is a reservation.
	Within string
	// Bake is asked right before the swap which moves of a switch are to bake, and
	// how: the plan, the baseline and a text. Nil, or an answer of nil, means not
	// at all.
	Bake func(Move) *Bake

	// always lets the daemon act by itself while there is a reservation.
	always bool
}

// Move is what a switch did or wanted to do to one service.
type Move struct {
	Service string `json:"service"`
	From    Slot   `json:"from,omitempty"` // empty in an assumption
	To      Slot   `json:"to"`
	// FromRelease and ToRelease are the releases that the two slots ran; empty
	// where that is not known.
	FromRelease string `json:"from_release,omitempty"`
	ToRelease   string `json:"to_release,omitempty"`
}

// Kind is the kind of an operation.
type Kind string

// The operations.
const (
	KindSwitch       Kind = "switch"
	KindRollback     Kind = "rollback"
	KindFailover     Kind = "failover" // a switch by the daemon, away from a dead slot
	KindHold         Kind = "hold"
	KindReleaseHold  Kind = "release-hold"
	KindReconfigure  Kind = "reconfigure"
	KindDeploy       Kind = "deploy"        // several operations under one reservation, each with a record of its own
	KindUpgrade      Kind = "upgrade"       // another process took over
	KindAssumeActive Kind = "assume-active" // at start, where the state was lost
)

// Outcome is how an operation ended.
type Outcome string

// The outcomes.
const (
	Done      Outcome = "done"      // traffic is where it was wanted
	Unchanged Outcome = "unchanged" // it already was
	Failed    Outcome = "failed"    // traffic is where it was
	Refused   Outcome = "refused"   // target not healthy or not allowed; traffic is where it was
	Aborted   Outcome = "aborted"   // stopped before the swap; traffic is where it was
	Returned  Outcome = "returned"  // traffic had moved and was returned; it is where it was
	// The daemon ended before the result was saved, and traffic is where it was; or
	// a deploy ended without a word, and its error says where traffic is.
	Interrupted Outcome = "interrupted"
)

// Record is one operation in the history, and the answer to the one who asked
// for it.
type Record struct {
	ID       string   `json:"id"` // sorts by time
	Kind     Kind     `json:"kind"`
	Outcome  Outcome  `json:"outcome"`
	Moves    []Move   `json:"moves,omitempty"`
	Services []string `json:"services,omitempty"` // of hold, release-hold and reconfigure
	Forced   bool     `json:"forced,omitempty"`   // health was not asked for
	Reason   string   `json:"reason,omitempty"`
	// FromVersion and ToVersion are those of the program, in an upgrade.
	FromVersion string `json:"from_version,omitempty"`
	ToVersion   string `json:"to_version,omitempty"`
	Actor       Actor  `json:"actor"`
	Error       string `json:"error,omitempty"`
	// Warning says what an operator should know although the operation is done.
	Warning string        `json:"warning,omitempty"`
	Started time.Time     `json:"started"`
	Probing time.Duration `json:"probing_ns,omitempty"` // awaiting health
	Swap    time.Duration `json:"swap_ns,omitempty"`    // the swap itself
	Took    time.Duration `json:"took_ns"`              // from the lock to the saved result
	// Generation is that of the state the operation left; zero if it saved none.
	Generation uint64       `json:"generation,omitempty"`
	Drain      []DrainCount `json:"drain,omitempty"` // once the drain has ended or was given up
	// Bake is how the bake stands that the switch began; nil if it began none.
	Bake *BakeResult `json:"bake,omitempty"`
}

// clone shares nothing with r.
func (r Record) clone() Record {
	r.Moves, r.Services, r.Drain = slices.Clone(r.Moves), slices.Clone(r.Services), slices.Clone(r.Drain)
	if r.Bake != nil {
		bake := *r.Bake
		r.Bake = &bake
	}
	return r
}

func cloneRecord(r *Record) *Record {
	if r == nil {
		return nil
	}
	c := r.clone()
	return &c
}

// summary is the operation in a few words: "switch of backend to green".
func (r Record) summary() string {
	switch {
	case len(r.Moves) > 0:
		return string(r.Kind) + " of " + describe(r.Moves)
	case len(r.Services) > 0:
		return string(r.Kind) + " of " + strings.Join(r.Services, " and ")
	case r.ToVersion != "":
		return string(r.Kind) + " from " + r.FromVersion + " to " + r.ToVersion
	}
	return string(r.Kind)
}

// named is "rollback 1mh3-k2d8-7fq".
func (r Record) named() string { return string(r.Kind) + " " + r.ID }

// describe is "backend and frontend to green", or "backend to green, frontend
// to blue" where they go to different slots.
func describe(moves []Move) string {
	var bySlot []string
	for _, slot := range []Slot{Blue, Green} {
		var names []string
		for _, m := range moves {
			if m.To == slot {
				names = append(names, m.Service)
			}
		}
		if len(names) > 0 {
			bySlot = append(bySlot, strings.Join(names, " and ")+" to "+string(slot))
		}
	}
	return strings.Join(bySlot, ", ")
}

// Operation is one that runs now.
type Operation struct {
	ID      string    `json:"id"`
	Kind    Kind      `json:"kind"`
	Moves   []Move    `json:"moves,omitempty"`
	Step    string    `json:"step"` // one of the steps below
	Actor   Actor     `json:"actor"`
	Started time.Time `json:"started"`
}

// The steps of an operation. Until it is saving it can be aborted.
const (
	StepPlanning  = "planning"
	StepHealth    = "awaiting health"
	StepSaving    = "saving"
	StepSwapping  = "swapping"
	StepApplying  = "applying"
	StepRecording = "recording"
)
