package deploy

import (
	"time"

	"charactier-proxy/switcher"
)

// Request is what an operator asks for. It is written into the journal as it
// is, so that a resumed deploy is the same deploy.
type Request struct {
	// Kind is [switcher.KindDeploy], or [switcher.KindRollback] for a return to a
	// slot that does not run, or to a kept release.
	Kind     switcher.Kind `json:"kind"`
	Services []string      `json:"services"` // never empty
	Source   Source        `json:"source"`
	// Force deploys what is active already, and releases that were returned from.
	Force  bool   `json:"force,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Bake is how long the new slots are watched: zero not at all, negative each
	// service's own time.
	Bake time.Duration `json:"bake_ns,omitempty"`
	// Confirm has a person asked before the deploy counts.
	Confirm bool `json:"confirm,omitempty"`
	// CutStreams takes a standby slot on which event streams or WebSockets are
	// still open: they are ended before their grace is over.
	CutStreams bool `json:"cut_streams,omitempty"`
}

// facts are what a deploy has found out or decided, and needs for its way back.
type facts struct {
	Origin Origin           `json:"origin,omitzero"`
	Places map[string]place `json:"places,omitempty"` // by service
	// BadForced are the bad releases that a forced deploy began in spite of: kept to
	// its end, it exonerates them.
	BadForced []string `json:"bad_forced,omitempty"`
	// Switched is the ID of the daemon's switch, or that it was not told.
	Switched string `json:"switched,omitempty"`
	// Returned says that the daemon returned the traffic by itself.
	Returned bool `json:"returned,omitempty"`
}

// place is one service as the deploy found it.
type place struct {
	Old switcher.Slot `json:"old"` // active
	New switcher.Slot `json:"new"` // standby, to become active
	// OldRelease is what the active slot runs, NewBefore where the standby's link
	// led, LeftRelease which release that was, and NewRan whether the standby's
	// unit ran.
	OldRelease  string `json:"old_release,omitempty"`
	NewBefore   string `json:"new_before,omitempty"`
	LeftRelease string `json:"left_release,omitempty"`
	NewRan      bool   `json:"new_ran,omitempty"`
	// Proven is the run of the new slot that passed the gate.
	Proven Life `json:"proven,omitzero"`
	// NewRelease is what the standby has, for a return that takes it as it is.
	NewRelease string `json:"new_release,omitempty"`
}

// moves are the deploy's in a record for the history.
func (f facts) moves(services []string, keepsLinks bool) []switcher.Move {
	var moves []switcher.Move
	for _, name := range services {
		if p, ok := f.Places[name]; ok {
			to := f.Origin.Release
			if keepsLinks {
				to = p.NewRelease
			}
			moves = append(moves, switcher.Move{Service: name, From: p.Old, To: p.New, FromRelease: p.OldRelease, ToRelease: to})
		}
	}
	return moves
}
