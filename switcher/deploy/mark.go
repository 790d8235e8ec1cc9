package deploy

import (
	"errors"
	"fmt"
	"strings"

	"charactier-proxy/switcher"
)

// mark notes that the release did not prove itself, where that is why the deploy
// failed. Of one that had the traffic the daemon remembers it; a return to what
// the standby slots have says more of the machine than of their releases.
func (d *deploy) mark(cause error) {
	f := d.facts()
	if !errors.Is(cause, ErrUnhealthy) || errors.Is(cause, switcher.ErrAborted) || f.Switched != "" || f.Origin.Release == "" || d.keepsLinks() {
		return
	}
	why := strings.TrimPrefix(cause.Error(), ErrUnhealthy.Error()+": ")
	if n := len(d.story.order); n > 0 {
		why = d.story.order[n-1] + ": " + why
	}
	if err := d.opts.Releases.Mark(f.Origin.Release, why); err != nil {
		d.warn("", fmt.Errorf("the list of releases will not tell that this one failed: %w", err))
	}
}
