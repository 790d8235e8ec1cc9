package chaos

import (
	"context"
	"errors"

	"charactier-proxy/switcher/control"
)

// reconfigure writes a configuration and sees that it is taken, or refused if it
// is bad.
func (o *operator) reconfigure(ctx context.Context, byLink bool, how string, change func(*settings)) {
	change(&o.settings)
	kind := reloaded
	if o.settings.Broken {
		kind = reloadedBad
	}
	f := o.notes.breaks(kind, place{})
	defer o.notes.mended(f)
	ctx = context.WithoutCancel(ctx)
	before, err := o.daemon.api.Status(ctx)
	if err == nil {
		err = o.daemon.configure(o.settings, byLink)
	}
	if err != nil {
		o.fail(err)
		return
	}
	switch how {
	case "signal":
		o.daemon.hangUp()
	case "api":
		// What is wrong with it shows in the status.
		_, _ = o.daemon.api.Reload(ctx)
	}
	o.awaitConfig(ctx, before.Config, f.Begun)
	o.inspect(ctx)
}

// awaitConfig waits until the daemon has made up its mind about the new file.
func (o *operator) awaitConfig(ctx context.Context, before control.ConfigStatus, from moment) {
	var c control.ConfigStatus
	err := eventually(ctx, func() error {
		st, err := o.daemon.api.Status(ctx)
		if c = st.Config; err == nil && c.Loaded.Equal(before.Loaded) && c.RejectedAt.Equal(before.RejectedAt) {
			err = errors.New("the daemon has not looked at its configuration")
		}
		return err
	})
	taken := c.Rejected == ""
	o.notes.did("configuration %d (bad: %t): taken %t, %v %s", o.daemon.versions, o.settings.Broken, taken, short(err), c.Rejected)
	if err != nil {
		o.notes.breach("", "%v", err)
	} else if taken == o.settings.Broken && (taken || !o.notes.overlaps("", from, now(), spoilt...)) {
		o.notes.breach("", "a configuration (bad: %t) was taken: %t, %s", o.settings.Broken, taken, c.Rejected)
	}
	o.settings.Broken = false
}
