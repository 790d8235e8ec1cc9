package deploy

import (
	"errors"
	"fmt"
	"time"
)

// errStranger: the new slot's port is somebody else's.
var errStranger = errors.New("which does not belong to")

// checkOwner makes sure that it is the new slot's unit that has its port.
func (d *deploy) checkOwner(s Service, p place) error {
	at := s.Slots[p.New]
	if !s.Identity {
		return nil
	}
	unit, process, err := d.opts.Units.Owner(at.Address)
	switch {
	case err != nil:
		return fmt.Errorf("looking who listens on %s: %w", at.Address, err)
	case process == "":
		return fmt.Errorf("nobody listens on %s any more", at.Address)
	case unit != at.Unit:
		return fmt.Errorf("%s is answered by %s, %w %s", at.Address, process, errStranger, at.Unit)
	}
	return nil
}

// strangerTime is how long a stranger may have the port of a slot whose unit
// runs: that process will not get it any more.
const strangerTime = 5 * time.Second

// intrusion is the time for which a stranger has had the port.
type intrusion struct{ since time.Time }

// note takes what the slot was last found to be.
func (i *intrusion) note(err error) {
	switch {
	case !errors.Is(err, errStranger):
		i.since = time.Time{}
	case i.since.IsZero():
		i.since = time.Now()
	}
}

func (i *intrusion) lasts() bool { return !i.since.IsZero() && time.Since(i.since) >= strangerTime }

// pause is how long to wait before the next look, which a stranger makes shorter.
func (i *intrusion) pause(usual time.Duration) time.Duration {
	if i.since.IsZero() {
		return usual
	}
	return min(usual, strangerTime/5)
}
