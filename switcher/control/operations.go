package control

import (
	"context"

	"charactier-proxy/switcher"
)

// Operations is what the server needs of the daemon. Each method may be called
// by several goroutines at once; ctx ends when the client leaves or the server
// stops. An operation that failed returns its record beside the error, so that
// the one who asked learns where the traffic is; an error may carry what to do
// next in a method Hint() string.
type Operations interface {
	Status(ctx context.Context) Status
	History(limit int) ([]switcher.Record, error)
	// Events calls emit with every event after seq, first the remembered ones,
	// then those to come, until ctx ends or emit fails.
	Events(ctx context.Context, after uint64, emit func(switcher.Event) error) error
	Switch(ctx context.Context, r SwitchRequest, by switcher.Actor) (switcher.Record, error)
	Rollback(ctx context.Context, r SwitchRequest, by switcher.Actor) (switcher.Record, error)
	Hold(ctx context.Context, r HoldRequest, by switcher.Actor) (switcher.Record, error)
	ReleaseHold(ctx context.Context, r HoldRequest, by switcher.Actor) (switcher.Record, error)
	Abort(ctx context.Context, r AbortRequest, by switcher.Actor) (AbortResult, error)
	// Stopping has the requests of the unit's slot wait, if it is active, and waits
	// for the answers to those that it has got already.
	Stopping(ctx context.Context, r StoppingRequest, by switcher.Actor) (StoppingResult, error)
	// EndStreams returns when the slot has no stream any more.
	EndStreams(ctx context.Context, r EndStreamsRequest, by switcher.Actor) (EndStreamsResult, error)
	Reload(ctx context.Context, by switcher.Actor) (ConfigStatus, error)
	// Upgrade has the installed program take over. When it returns nil, that is in
	// charge and listens on the socket too.
	Upgrade(ctx context.Context, r UpgradeRequest, by switcher.Actor) (switcher.Record, error)
	// Reserve keeps others out until ctx ends, tell fails or EndReservation was
	// called. It calls tell with the Reservation at once and then with each
	// ReservationAsk; an error before that is a refusal.
	Reserve(ctx context.Context, r ReserveRequest, by switcher.Actor, tell func(any) error) error
	StepReservation(ctx context.Context, r ReserveStep, by switcher.Actor) error
	EndReservation(ctx context.Context, r ReserveEnd, by switcher.Actor) (switcher.Record, error)
}
