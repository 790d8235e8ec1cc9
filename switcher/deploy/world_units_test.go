package deploy

import (
	"context"
	"errors"
	"strings"

	"charactier-proxy/switcher"
)

// units is the world's systemd.
type units struct{ w *world }

func (u units) Start(_ context.Context, name string) error {
	dies := false
	err := u.w.call("start "+name, func() {
		it := u.w.units[name]
		dies = it.dies
		if it.running || dies {
			return
		}
		service, slot, _ := strings.Cut(strings.TrimSuffix(name, ".service"), "-")
		it.running, it.release = true, u.w.links["/"+service+"/"+slot]
	})
	if dies {
		return errors.Join(err, errors.New(name+" ended with exit code 1"))
	}
	return err
}

func (u units) Stop(_ context.Context, name string) error {
	return u.w.call("stop "+name, func() {
		service, slot, _ := strings.Cut(strings.TrimSuffix(name, ".service"), "-")
		if u.w.active[service] == switcher.Slot(slot) {
			u.w.stopped = append(u.w.stopped, name)
		}
		if strings.HasPrefix(name, "charactier-build-") {
			u.w.building = false
			return
		}
		u.w.units[name].running = false
	})
}

func (u units) Running(_ context.Context, name string) (running bool, err error) {
	err = u.w.call("running", func() { running = u.w.units[name].running })
	return running, err
}

func (u units) Files(_ context.Context, name string) (v UnitView, err error) {
	err = u.w.call("files", func() { v = u.w.units[name].files })
	return v, err
}

func (u units) Life(_ context.Context, name string) (l Life, err error) {
	err = u.w.call("life", func() {
		it := u.w.units[name]
		l = Life{Up: it.running, Run: "of " + it.release, Restarts: it.restarts}
	})
	return l, err
}

func (u units) Tail(_ context.Context, name, run string) []string {
	return []string{"the last words of " + strings.TrimSpace(name+" "+run)}
}

func (u units) Exited(ctx context.Context, _ string) error {
	<-ctx.Done()
	return nil
}

func (u units) Enable(_ context.Context, on, off []string) error {
	name := "enable"
	if len(off) == 0 {
		name = "enable too"
	}
	return u.w.call(name, func() {
		for _, name := range on {
			u.w.units[name].enabled = true
		}
		for _, name := range off {
			u.w.units[name].enabled = false
		}
	})
}

func (u units) Owner(address string) (owner, process string, err error) {
	err = u.w.call("owner", func() {
		if stranger := u.w.units[address+".service"].stranger; stranger != "" {
			owner, process = stranger, "pid 7 of "+stranger
			return
		}
		if u.w.units[address+".service"].running {
			owner, process = address+".service", "node, pid 1"
		}
	})
	return owner, process, err
}

func (u units) Serving(address string) (all []Process, err error) {
	err = u.w.call("serving", func() { all = u.w.units[address+".service"].processes })
	return all, err
}
