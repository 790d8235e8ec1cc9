package deploy

import (
	"context"
	"time"

	"charactier-proxy/switcher"
)

// stopSlot stops a slot's unit. Its streams are ended first: an application that
// waits for them would take as long to stop as its unit lets it, and then cut them
// anywhere.
func (d *deploy) stopSlot(ctx context.Context, s Service, slot switcher.Slot) error {
	d.endStreams(ctx, s, slot)
	return d.stopUnit(ctx, s.Slots[slot].Unit)
}

// streamsSlack is how long a daemon that is not there may be waited for.
const streamsSlack = 10 * time.Second

// endStreams does what it can: without the daemon there are no streams either.
func (d *deploy) endStreams(ctx context.Context, s Service, slot switcher.Slot) {
	defer d.waiting()()
	ctx, cancel := context.WithTimeout(ctx, s.StreamsTime+streamsSlack)
	defer cancel()
	ended, cut, err := d.opts.Daemon.EndStreams(ctx, s.Name, slot)
	switch {
	case err != nil:
		d.say("streams", s.Name, "the streams of %s of %s were not ended first: %v", slot, s.Name, err)
	case ended+cut > 0:
		d.say("streams", s.Name, "the streams of %s of %s were ended: %d between two events or messages, %d cut", slot, s.Name, ended, cut)
	}
}
