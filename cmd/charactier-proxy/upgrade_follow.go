package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/handover"
	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
)

// endBehind ends a process whose successor is in charge: its requests may finish,
// and the few that still begin, on connections that could not be passed on, go
// where the successor says.
func (d *daemon) endBehind(next *handover.Successor) {
	defer next.Close()
	d.tasks.stopBut(isDoorTask)
	if err := next.Send(sayReleased, struct{}{}); err != nil {
		d.log.Error("telling the new process that it is in charge", zap.Error(err))
	}
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		d.newFollower().follow(next.Conn)
	}()
	left := make(chan struct{})
	go func() {
		defer close(left)
		d.stopDoors()
	}()
	select {
	case <-left:
	case <-followed:
		// The successor is gone, and nobody knows where the traffic is to go. Where
		// systemd is, it starts the next one once we are gone too.
		d.log.Error("the new process has ended while this one finished its requests: ending too")
		return
	}
	next.Conn.Close() //nolint:errcheck // there is nothing more to say
	<-followed
}

// follower moves the traffic of a process that is not in charge any more.
type follower struct {
	proxy   *proxy.Proxy
	log     *zap.Logger
	end     func(context.Context, place) proxy.StreamCount
	retired map[int]*proxy.Retired         // by number of the swap
	endings map[int]chan proxy.StreamCount // by number of the order
	ending  sync.WaitGroup
}

func (d *daemon) newFollower() *follower {
	return &follower{
		proxy: d.proxy, log: d.log, end: d.endOwnStreams,
		retired: map[int]*proxy.Retired{}, endings: map[int]chan proxy.StreamCount{},
	}
}

// order is what the process in charge has its predecessor do.
type order struct {
	N        int               `json:"n"`
	To       map[string]string `json:"to,omitempty"`
	Services []string          `json:"services,omitempty"`
	Service  string            `json:"service,omitempty"` // of the one slot that is meant
	Slot     switcher.Slot     `json:"slot,omitempty"`
	// Of is the number of the order that is asked about: the swap whose requests
	// are, or 0 for all that are open; the end of streams.
	Of int `json:"of,omitempty"`
}

type reply struct {
	N      int                   `json:"n"`
	Error  string                `json:"error,omitempty"`
	Counts []switcher.DrainCount `json:"counts,omitempty"`
	Ended  *proxy.StreamCount    `json:"ended,omitempty"` // nil while streams are being ended
}

// follow does as it is told until the connection ends.
func (f *follower) follow(c *handover.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer f.ending.Wait()
	defer cancel()
	for {
		m, err := c.Receive()
		if err != nil {
			return
		}
		m.Close()
		var o order
		if err := m.Decode(&o); err != nil {
			f.log.Warn("following the new process", zap.Error(err))
			continue
		}
		a, err := f.obey(ctx, m.Kind, o)
		if a.N = o.N; err != nil {
			a.Error = err.Error()
		}
		if err := c.Send(sayAnswer, a); err != nil {
			return
		}
	}
}

func (f *follower) obey(ctx context.Context, kind string, o order) (reply, error) {
	switch kind {
	case askSwap:
		retired, err := f.proxy.Swap(f.known(o.To))
		if err != nil {
			return reply{}, err
		}
		f.retired[o.N] = retired
		return reply{Counts: countsOf(retired)}, nil
	case askHold:
		f.proxy.Hold(o.Services...)
	case askRelease:
		f.proxy.Release(o.Services...)
	case askOpen:
		if retired := f.retired[o.Of]; retired != nil {
			return reply{Counts: countsOf(retired)}, nil
		}
		return reply{Counts: openNow(f.proxy)}, nil
	case askStopping:
		f.proxy.Stopping(over(), o.Service, string(o.Slot)) // who asks waits
	case askWent:
		f.proxy.Went(o.Service, string(o.Slot))
	case askEnd:
		ended := make(chan proxy.StreamCount, 1)
		f.endings[o.N] = ended
		f.ending.Go(func() { ended <- f.end(ctx, place{o.Service, o.Slot}) })
	case askEnded:
		select {
		case c := <-f.endings[o.Of]:
			return reply{Ended: &c}, nil
		default:
		}
	default:
		return reply{}, fmt.Errorf("%q is not known here", kind)
	}
	return reply{}, nil
}

// known leaves out the services that the successor has and we have not: nothing
// of theirs is ours.
func (f *follower) known(to map[string]string) map[string]string {
	have, known := f.proxy.Stats(), map[string]string{}
	for service, slot := range to {
		if _, ok := have[service][slot]; ok {
			known[service] = slot
		}
	}
	return known
}

// countsOf asks what is left of a swap, without waiting.
func countsOf(r *proxy.Retired) []switcher.DrainCount {
	counts, _ := r.Drain(over())
	out := make([]switcher.DrainCount, len(counts))
	for i, c := range counts {
		out[i] = switcher.DrainCount{
			Service: c.Service, Slot: switcher.Slot(c.Slot), Moved: c.Moved, OpenRequests: c.OpenRequests, OpenStreams: c.OpenStreams, Took: c.Took,
		}
	}
	return out
}

// over is a context for who wants to know how things are, and waits for nothing.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// openNow are all requests and streams, by slot. Moved are those on slots that
// were left.
func openNow(p *proxy.Proxy) (all []switcher.DrainCount) {
	for service, slots := range p.Stats() {
		for slot, s := range slots {
			if s.InFlight > 0 {
				all = append(all, switcher.DrainCount{
					Service: service, Slot: switcher.Slot(slot), Moved: s.Draining, OpenRequests: s.InFlight - s.Streams, OpenStreams: s.Streams,
				})
			}
		}
	}
	return all
}

// stopDoors closes all doors and returns once their requests have left.
func (d *daemon) stopDoors() {
	var names []string
	for _, o := range d.doors.all() {
		names = append(names, doorTask(o))
	}
	d.tasks.stop(names...)
}

// askTime bounds one question between the two processes.
const askTime = 5 * time.Second
