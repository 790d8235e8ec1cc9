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
// the counts are valid in both cases and the error is ctx's. It may be called
// more than once, by several goroutines.
type Drain func(ctx context.Context) ([]DrainCount, error)

// DrainCount says what became of the requests that were in flight at a swap.
type DrainCount struct {
	Service      string `json:"service"`
	Slot         Slot   `json:"slot"`
	Moved        int64  `json:"moved"`         // in flight at the swap
	OpenRequests int64  `json:"open_requests"` // not ended yet
	OpenStreams  int64  `json:"open_streams"`  // event streams and upgrades still open
	// StreamsUntil is when these are ended; zero where there are none, or nobody
	// ends them.
	StreamsUntil time.Time     `json:"streams_until,omitzero"`
	Took         time.Duration `json:"took_ns"` // since the swap
}

// Prober is what the switcher needs of the health checks.
type Prober interface {
	// Await returns nil once the slot has proven healthy since the call, and
	// otherwise, as soon as that is known, why it is not. It returns when ctx
	// ends.
	Await(ctx context.Context, service string, slot Slot) error
}

// Store remembers the state. Save is atomic and durable: after it returned nil
// the new state survives a power cut; after an error Load tells which of the
// two is there. The switcher calls one of them at a time.
type Store interface {
	// Load returns what was saved last, and a state of generation zero where
	// nothing ever was. Where something was but cannot be told any more, the
	// error wraps [ErrStateUnknown].
	Load() (State, error)
	Save(State) error
}

// History is the append-only record of what was done. An operation is appended
// once it ended, and amended once its drain has, or the bake that it began: then
// the counts or the verdict of the later record count. Its methods may be called
// by several goroutines at once.
type History interface {
	Append(Record) error
	Amend(Record) error
	// Tail returns the newest n operations, newest first, each once.
	Tail(n int) ([]Record, error)
}
