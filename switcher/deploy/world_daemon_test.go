package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"charactier-proxy/switcher"
)

// daemon is the world's.
type daemon struct{ w *world }

func (d daemon) View(context.Context) (View, error) {
	v := View{Services: map[string]ServiceView{}}
	err := d.w.call("view", func() {
		for _, s := range d.w.services() {
			sv := ServiceView{Active: d.w.active[s.Name], Bad: d.w.bad[s.Name], Bake: d.w.bakes[s.Name], Slots: map[switcher.Slot]SlotView{}}
			for _, slot := range []switcher.Slot{blue, green} {
				u := d.w.units[s.Slots[slot].Unit]
				view := SlotView{Healthy: u.running, Health: "connection refused", InFlight: d.w.inFlight[s.Name+"/"+string(slot)], Streams: d.w.streams[s.Name+"/"+string(slot)]}
				if d.w.roles {
					view.Role, view.Wanted = "standby", "standby"
					if sv.Active == slot {
						view.Wanted = "active"
						if u.release != "roleless" && d.w.sick[u.release] != "no role" {
							view.Role = "active"
						}
					}
				}
				sv.Slots[slot] = view
			}
			v.Services[s.Name] = sv
		}
	})
	return v, err
}

func (d daemon) EndStreams(_ context.Context, service string, slot switcher.Slot) (ended, cut int64, err error) {
	err = d.w.call("end streams", func() {
		at := service + "/" + string(slot)
		ended, d.w.streams[at] = d.w.streams[at], 0
	})
	return ended, 0, err
}

func (d daemon) Reserve(_ context.Context, _ switcher.Kind, _ []string, _ string) (Lease, error) {
	l := &lease{w: d.w, asked: make(chan string, 1), lost: make(chan struct{})}
	busy := false
	err := d.w.call("reserve", func() {
		busy = d.w.reserved != nil
		if !busy {
			d.w.reserved = l
		}
	})
	if busy {
		return nil, switcher.ErrBusy
	}
	if err != nil {
		l.Close() // the connection of a call that failed has ended
		return nil, err
	}
	return l, nil
}

type lease struct {
	w     *world
	asked chan string
	lost  chan struct{}
}

func (l *lease) Asked() <-chan string { return l.asked }

func (l *lease) Lost() <-chan struct{} { return l.lost }

func (l *lease) Step(_ context.Context, step, _ string) error {
	return l.w.call("step "+step, func() {})
}

// lose is what the daemon's end does to the lease.
func (w *world) lose() {
	if w.reserved != nil {
		close(w.reserved.lost)
		w.reserved = nil
	}
}

func (l *lease) Move(_ context.Context, kind switcher.Kind, services []string, bake time.Duration, reason string) (switcher.Record, error) {
	rec := switcher.Record{ID: "op-2", Kind: kind}
	var refused error
	err := l.w.call("move", func() {
		for _, name := range services {
			to := l.w.active[name].Other()
			if u := l.w.units[name+"-"+string(to)+".service"]; !u.running {
				refused = fmt.Errorf("%w: %s", switcher.ErrUnhealthy, to)
				return
			}
			if kind == switcher.KindRollback && l.w.previous[name] == "" {
				refused = switcher.ErrNothingToRollBack
				return
			}
		}
		for _, name := range services {
			from := l.w.active[name]
			l.w.active[name], l.w.previous[name] = from.Other(), from
			l.w.bakes[name] = nil
			if kind == switcher.KindRollback {
				left := l.w.links["/"+name+"/"+string(from)]
				l.w.bad[name] = append(l.w.bad[name], switcher.BadRelease{Release: left, Reason: reason})
			}
			if bake != 0 && kind == switcher.KindSwitch {
				l.w.bakes[name] = &switcher.BakeResult{Verdict: switcher.Passed, Text: "as good as before"}
			}
		}
		if bake != 0 && l.w.bakeFail != "" {
			// The daemon returns it by itself, at once.
			for _, name := range services {
				l.w.active[name] = l.w.active[name].Other()
				l.w.bakes[name] = &switcher.BakeResult{Verdict: switcher.BakeFailed, Text: l.w.bakeFail, Returned: "op-3"}
			}
		}
	})
	return rec, errors.Join(err, refused)
}

func (l *lease) End(_ context.Context, r switcher.Record, exonerate []string) error {
	return l.w.call("end", func() {
		for _, m := range r.Moves {
			l.w.bad[m.Service] = slices.DeleteFunc(l.w.bad[m.Service], func(b switcher.BadRelease) bool { return slices.Contains(exonerate, b.Release) })
		}
		l.w.records = append(l.w.records, r)
		if l.w.reserved == l {
			l.w.reserved = nil
		}
	})
}

func (l *lease) Close() {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	if l.w.reserved == l {
		l.w.reserved = nil
	}
}
