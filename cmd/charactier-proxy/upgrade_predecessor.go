package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/handover"
	"charactier-proxy/switcher"
	"charactier-proxy/systemd"
)

// predecessor is the process that this one succeeds. It still has requests of its
// own, which count wherever ours do. A nil predecessor has none.
type predecessor struct {
	conn    *handover.Conn
	process *handover.Process // nil where it cannot be found

	inherited *systemd.Inherited
	ours      map[string]*os.File // the listeners that it opened, by address
	lock      *os.File
	record    switcher.Record // of the upgrade; empty where it ended before
	token     string          // of its questions to itself

	gone  chan struct{} // closed once it has ended, or has nothing left
	adopt func(passedConn, net.Conn)

	asking  sync.Mutex // one question at a time
	asked   int
	answers chan reply
}

func newPredecessor(c *handover.Conn) (*predecessor, error) {
	p := &predecessor{conn: c, ours: map[string]*os.File{}, gone: make(chan struct{}), answers: make(chan reply, 1)}
	pid, err := c.Peer()
	if err != nil {
		return nil, err
	}
	p.process, _ = handover.Find(pid) // one that has ended is found to be gone anyway
	return p, nil
}

// meet takes over the listeners.
func (p *predecessor) meet() (hello, error) {
	var about hello
	m, err := p.conn.Receive()
	if err != nil {
		return about, fmt.Errorf("hearing from the process before this one: %w", err)
	}
	if err := m.Decode(&about); err != nil || m.Kind != sayHello || len(about.Sockets) != len(m.Files) {
		m.Close()
		return about, errors.Join(fmt.Errorf("the process before this one said %q with %d sockets for %d", m.Kind, len(m.Files), len(about.Sockets)), err)
	}
	p.token = about.Token
	var passed []*os.File
	for i, s := range about.Sockets {
		if s.Ours {
			p.ours[s.Name] = m.Files[i]
			continue
		}
		named, err := rename(m.Files[i], s.Name)
		if err != nil {
			return about, err
		}
		passed = append(passed, named)
	}
	p.inherited, err = systemd.Adopt(passed)
	return about, err
}

// rename gives a file the name by which its socket is found.
func rename(f *os.File, name string) (*os.File, error) {
	defer f.Close()
	fd, err := handover.Duplicate(f)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// awaitTurn waits until the state is ours. One that ends before it says so leaves
// it too, and whoever is first has it.
func (p *predecessor) awaitTurn() error {
	m, err := p.conn.Receive()
	if err != nil {
		return nil
	}
	var t take
	if err := m.Decode(&t); err != nil || m.Kind != sayTake || len(m.Files) != 1 {
		m.Close()
		return errors.Join(fmt.Errorf("the process before this one said %q", m.Kind), err)
	}
	p.lock, p.record = m.Files[0], t.Record
	return nil
}

// listener returns one that the predecessor opened, or nil. It can be had once.
func (p *predecessor) listener(address string) (net.Listener, error) {
	if p == nil || p.ours[address] == nil {
		return nil, nil
	}
	f := p.ours[address]
	delete(p.ours, address)
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("taking over %s: %w", address, err)
	}
	return ln, nil
}

// forgetSockets closes what nobody wanted.
func (p *predecessor) forgetSockets() {
	for _, f := range p.ours {
		f.Close()
	}
	clear(p.ours)
}

// follow hears the predecessor until it is gone.
func (p *predecessor) follow(log *zap.Logger) {
	defer close(p.gone)
	defer p.conn.Close()
	for {
		m, err := p.conn.Receive()
		if err != nil {
			return
		}
		switch m.Kind {
		case sayConn:
			if err := p.take(m); err != nil {
				log.Warn("taking over a connection", zap.Error(err))
			}
		case sayAnswer:
			var a reply
			if m.Decode(&a) == nil {
				select {
				case <-p.answers: // of a question that nobody waits for any more
				default:
				}
				p.answers <- a
			}
		}
		m.Close()
	}
}

func (p *predecessor) take(m handover.Message) error {
	var about passedConn
	if err := m.Decode(&about); err != nil || len(m.Files) != 1 {
		return errors.Join(fmt.Errorf("it came with %d files", len(m.Files)), err)
	}
	nc, err := net.FileConn(m.Files[0])
	if err != nil {
		return err
	}
	p.adopt(about, nc)
	return nil
}

// await waits until the predecessor is gone.
func (p *predecessor) await(ctx context.Context) error {
	if p == nil {
		return nil
	}
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *predecessor) isGone() bool {
	if p == nil {
		return true
	}
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

// have has the predecessor do something, and returns what it says. One that does
// not answer is ended: it would go on by what is not true any more. One that is
// gone has done all.
func (p *predecessor) have(kind string, o order) reply {
	if p.isGone() {
		return reply{}
	}
	a, ok := p.ask(kind, o)
	if ok {
		return a
	}
	if p.process != nil {
		p.process.Kill() //nolint:errcheck // it is gone then
	}
	<-p.gone
	return reply{}
}

// ask reports false where no answer comes.
func (p *predecessor) ask(kind string, o order) (reply, bool) {
	p.asking.Lock()
	defer p.asking.Unlock()
	p.asked++
	o.N = p.asked
	if p.conn.Send(kind, o) != nil {
		return reply{}, false
	}
	timeout := time.NewTimer(askTime)
	defer timeout.Stop()
	for {
		select {
		case a := <-p.answers:
			if a.N == o.N {
				return a, a.Error == ""
			}
		case <-p.gone:
			return reply{}, true
		case <-timeout.C:
			return reply{}, false
		}
	}
}

// led is traffic that the predecessor's follows.
type led struct {
	switcher.Traffic
	old *predecessor
}

// Swap returns once neither process begins a request on the slot that was left.
func (l led) Swap(to map[string]switcher.Slot) (switcher.Drain, error) {
	drain, err := l.Traffic.Swap(to)
	if err != nil {
		return nil, err
	}
	slots := map[string]string{}
	for service, slot := range to {
		slots[service] = string(slot)
	}
	a := l.old.have(askSwap, order{To: slots})
	if len(a.Counts) == 0 {
		return drain, nil
	}
	return func(ctx context.Context) ([]switcher.DrainCount, error) {
		counts, err := drain(ctx)
		var theirs []switcher.DrainCount
		if err == nil {
			theirs, err = l.old.drain(ctx, a)
		} else {
			theirs = l.old.have(askOpen, order{Of: a.N}).Counts
		}
		return addCounts(counts, theirs, a.Counts), err
	}, nil
}

// drain waits until the predecessor has no request left of those that a swap
// moved away from.
func (p *predecessor) drain(ctx context.Context, swap reply) ([]switcher.DrainCount, error) {
	for {
		counts, open := p.have(askOpen, order{Of: swap.N}).Counts, int64(0)
		for _, c := range counts {
			open += c.OpenRequests
		}
		if open == 0 {
			return counts, nil
		}
		if !p.pause(ctx) && ctx.Err() != nil {
			return counts, context.Cause(ctx)
		}
	}
}

// open are the requests that the predecessor has not ended yet.
func (p *predecessor) open() map[place]switcher.DrainCount {
	counts := map[place]switcher.DrainCount{}
	if p.isGone() {
		return counts
	}
	a, _ := p.ask(askOpen, order{})
	for _, c := range a.Counts {
		counts[place{c.Service, c.Slot}] = c
	}
	return counts
}

// addCounts adds what is left of the predecessor's to ours. What it had at the
// swap is known even when it is gone.
func addCounts(ours, theirs, before []switcher.DrainCount) []switcher.DrainCount {
	for i := range ours {
		for _, c := range before {
			if c.Service == ours[i].Service && c.Slot == ours[i].Slot {
				ours[i].Moved += c.Moved
			}
		}
		for _, c := range theirs {
			if c.Service == ours[i].Service && c.Slot == ours[i].Slot {
				ours[i].OpenRequests += c.OpenRequests
				ours[i].OpenStreams += c.OpenStreams
				ours[i].Took = max(ours[i].Took, c.Took)
			}
		}
	}
	return ours
}

// Hold returns once neither process begins a request.
func (l led) Hold(services ...string) {
	l.Traffic.Hold(services...)
	l.old.have(askHold, order{Services: services})
}

// Release lets both go on.
func (l led) Release(services ...string) {
	l.Traffic.Release(services...)
	l.old.have(askRelease, order{Services: services})
}
