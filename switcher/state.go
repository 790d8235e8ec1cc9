package switcher

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// State is exactly what is on disk.
type State struct {
	// Generation grows with each state that is saved. A save that failed leaves
	// a gap, so that no two states share a number.
	Generation uint64 `json:"generation"`
	// Services by name. A service that left the configuration keeps its entry,
	// so that it comes back to the slot it had.
	Services map[string]ServiceState `json:"services"`
	// Intent is the transaction that was about to swap; nil between operations.
	Intent *Record `json:"intent,omitempty"`
	// Last is the newest finished operation that saved a state, so that a history
	// whose last line was lost can be mended at the next start.
	Last *Record `json:"last,omitempty"`

	// Note is not saved: it is what a [Store] has to say of a state that was not
	// simply the one saved last.
	Note string `json:"-"`
}

// ServiceState is what is remembered of one service.
type ServiceState struct {
	Active   Slot      `json:"active"`
	Previous Slot      `json:"previous,omitempty"` // active before; empty if it never moved
	Since    time.Time `json:"since"`              // when Active became active
	// Generation is that of the state in which Active became active. Services
	// that moved together share it, and the highest is the newest switch
	// whatever the clock did.
	Generation uint64 `json:"generation"`
	// RolledBack says that Active was reached by a rollback, so that Previous is
	// what was rolled back from and is not offered again.
	RolledBack bool `json:"rolled_back,omitempty"`
	// PreviousRelease is what Previous ran when it was left; empty if that is not
	// known.
	PreviousRelease string `json:"previous_release,omitempty"`
	Held            *Held  `json:"held,omitempty"`
	// FailedOver is the failover by which Active was reached; nil if it was reached
	// otherwise.
	FailedOver *FailedOver `json:"failed_over,omitempty"`
	// BadReleases are those that traffic was returned from, newest first.
	BadReleases []BadRelease `json:"bad_releases,omitempty"`
	// Bake is that of Active or, if it has Returned set, the one that returned the
	// traffic to Active.
	Bake *Bake `json:"bake,omitempty"`
}

// Held says since when and why a service's requests wait.
type Held struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
	Actor  Actor     `json:"actor"`
}

// clone shares nothing with s.
func (s State) clone() State {
	s.Services = maps.Clone(s.Services)
	if s.Services == nil {
		s.Services = map[string]ServiceState{}
	}
	for name, svc := range s.Services {
		s.Services[name] = svc.clone()
	}
	s.Intent, s.Last = cloneRecord(s.Intent), cloneRecord(s.Last)
	return s
}

func (s ServiceState) clone() ServiceState {
	if s.Held != nil {
		held := *s.Held
		s.Held = &held
	}
	if s.Bake != nil {
		bake := *s.Bake
		s.Bake = &bake
	}
	if s.FailedOver != nil {
		over := *s.FailedOver
		s.FailedOver = &over
	}
	s.BadReleases = slices.Clone(s.BadReleases)
	return s
}

// move makes each move's target the active slot, as operation r.
func (s State) move(moves []Move, r Record, generation uint64, at time.Time) {
	for _, m := range moves {
		was := s.Services[m.Service]
		now := ServiceState{
			Active: m.To, Previous: m.From, Since: at, Generation: generation,
			PreviousRelease: m.FromRelease, Held: was.Held, BadReleases: was.BadReleases,
		}
		switch r.Kind {
		case KindFailover:
			now.FailedOver = &FailedOver{ID: r.ID, Since: at, Reason: r.Reason}
		case KindRollback:
			// Rolling back by force to what was rolled back from is a change of
			// mind: the way back must be open again. And what a failover went to was
			// not chosen, so leaving it is no verdict.
			now.RolledBack = was.FailedOver == nil && (!was.RolledBack || m.ToRelease != was.PreviousRelease)
			now.BadReleases = was.judged(m, now.RolledBack, r, at)
		}
		s.Services[m.Service] = now
	}
}

// maxBad is how many bad releases are remembered of a service.
const maxBad = 20

// judged are the bad releases after a rollback: what was left is one, unless
// that was a change of mind, and what was gone back to is none, by force or
// because what was rolled back to did not prove itself.
func (s ServiceState) judged(m Move, leftIsBad bool, r Record, at time.Time) []BadRelease {
	bad := slices.DeleteFunc(slices.Clone(s.BadReleases), func(b BadRelease) bool {
		return b.Release == m.FromRelease || b.Release == m.ToRelease
	})
	if leftIsBad && m.FromRelease != "" && m.FromRelease != m.ToRelease {
		bad = append([]BadRelease{{Release: m.FromRelease, Since: at, Reason: r.Reason}}, bad...)
	}
	return bad[:min(len(bad), maxBad)]
}

// badness says that a release was rolled back from; empty if it was not.
func (s ServiceState) badness(release string) string {
	for _, b := range s.BadReleases {
		if b.Release == release {
			text := fmt.Sprintf("release %s was rolled back from at %s", release, b.Since.Format(time.RFC3339))
			if b.Reason != "" {
				text += ": " + b.Reason
			}
			return text
		}
	}
	return ""
}

// check refuses a state that no switcher can have saved.
func (s State) check() error {
	if s.Generation == 0 {
		return fmt.Errorf("it has no generation")
	}
	for name, svc := range s.Services {
		if err := svc.check(); err != nil {
			return fmt.Errorf("service %q: %w", name, err)
		}
	}
	if s.Intent != nil {
		return checkMoves(s.Intent.Moves)
	}
	return nil
}

func (s ServiceState) check() error {
	if _, err := ParseSlot(string(s.Active)); err != nil {
		return fmt.Errorf("active: %w", err)
	}
	if s.Previous == "" {
		return nil
	}
	if _, err := ParseSlot(string(s.Previous)); err != nil {
		return fmt.Errorf("previous: %w", err)
	}
	if s.Previous == s.Active {
		return fmt.Errorf("%s is both active and previous", s.Active)
	}
	return nil
}

func checkMoves(moves []Move) error {
	for _, m := range moves {
		if _, err := ParseSlot(string(m.To)); err != nil {
			return fmt.Errorf("intent: service %q: %w", m.Service, err)
		}
	}
	return nil
}
