package switcher

import (
	"context"
	"time"
)

// Traffic is what the switcher needs of the data path.
type Traffic interface {
	// Swap moves all of the services in one atomic instant and returns how to
	// drain what it replaced. On error nothing has moved.
	Swap(to map[string]Slot) (Drain, error)
	// Hold and Release make the requests of services wait, and let them go.
	Hold(services ...string)
	Release(services ...string)
}

// Drain waits until no request is left on the replaced targets or ctx ends;
// the counts are valid in both cases.
type Drain func(ctx context.Context) ([]DrainCount, error)

// DrainCount says what became of the requests that were in flight at a swap.
type DrainCount struct {
	Service      string        `json:"service"`
	Slot         Slot          `json:"slot"`
	Moved        int64         `json:"moved"`         // in flight at the swap
	OpenRequests int64         `json:"open_requests"` // not ended yet
	OpenStreams  int64         `json:"open_streams"`  // event streams and upgrades still open
	Took         time.Duration `json:"took_ns"`       // since the swap
}

// Prober is what the switcher needs of the health checks.
type Prober interface {
	// Await returns nil once the slot has proven healthy since the call, and
	// otherwise, as soon as that is known, why it is not.
	Await(ctx context.Context, service string, slot Slot) error
}

// Store remembers the state. Save is atomic and durable: after it returned nil
// the new state survives a power cut; after an error Load tells which of the
// two is there.
type Store interface {
	Load() (State, error)
	Save(State) error
}

// History is the append-only record of what was done.
type History interface {
	Append(Record) error
}

// Actor is who asked for an operation.
type Actor struct {
	UID     uint32 `json:"uid"`
	User    string `json:"user"`
	PID     int32  `json:"pid,omitempty"`
	Command string `json:"command,omitempty"`
}

// Request is one wish to change something.
type Request struct {
	// Services narrows the operation; empty means all of them.
	Services []string
	// To is the wanted slot; empty means each service's other one.
	To Slot
	// Force skips the health check (S3) and the refusal to return to a slot that
	// was rolled back from.
	Force  bool
	Reason string
	Actor  Actor
	// Wait is how long the target may take to become healthy; zero: it must be
	// healthy now.
	Wait time.Duration
}

// Move is what a switch did or wanted to do to one service.
type Move struct {
	Service string `json:"service"`
	From    Slot   `json:"from"`
	To      Slot   `json:"to"`
}

// Kind is the kind of an operation.
type Kind string

// The operations.
const (
	KindSwitch      Kind = "switch"
	KindRollback    Kind = "rollback"
	KindHold        Kind = "hold"
	KindReleaseHold Kind = "release-hold"
	KindReconfigure Kind = "reconfigure"
)

// Outcome is how an operation ended.
type Outcome string

// The outcomes.
const (
	Done        Outcome = "done"        // traffic is where it was wanted
	Unchanged   Outcome = "unchanged"   // it already was
	Failed      Outcome = "failed"      // traffic is where it was
	Refused     Outcome = "refused"     // target not healthy or not allowed; traffic is where it was
	Aborted     Outcome = "aborted"     // stopped before the swap; traffic is where it was
	Interrupted Outcome = "interrupted" // the daemon ended before the result was saved; traffic is where it was
)

// Record is one operation in the history, and the answer to the one who asked
// for it.
type Record struct {
	ID       string        `json:"id"`
	Kind     Kind          `json:"kind"`
	Outcome  Outcome       `json:"outcome"`
	Moves    []Move        `json:"moves,omitempty"`
	Services []string      `json:"services,omitempty"` // of hold and release-hold
	Forced   bool          `json:"forced,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Actor    Actor         `json:"actor"`
	Error    string        `json:"error,omitempty"`
	Started  time.Time     `json:"started"`
	Probing  time.Duration `json:"probing_ns,omitempty"` // awaiting health
	Swap     time.Duration `json:"swap_ns,omitempty"`    // the swap itself
	Took     time.Duration `json:"took_ns"`              // from the lock to the saved result
	// Generation is that of the state the operation left.
	Generation uint64       `json:"generation,omitempty"`
	Drain      []DrainCount `json:"drain,omitempty"` // once the drain has ended or was given up
}

// Operation is one that runs now.
type Operation struct {
	ID      string    `json:"id"`
	Kind    Kind      `json:"kind"`
	Moves   []Move    `json:"moves,omitempty"`
	Step    string    `json:"step"` // "awaiting health", "saving", "swapping"
	Actor   Actor     `json:"actor"`
	Started time.Time `json:"started"`
}

// Event is one thing that happened, for those who watch.
type Event struct {
	Seq     uint64    `json:"seq"` // grows by one; a gap means that some were dropped
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"` // "switch", "health", "config", "drain", ...
	Service string    `json:"service,omitempty"`
	Slot    Slot      `json:"slot,omitempty"`
	Op      string    `json:"op,omitempty"` // the operation's ID
	Level   string    `json:"level"`        // "info", "warn", "error"
	Text    string    `json:"text"`
}
