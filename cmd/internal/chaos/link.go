package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// link is the way from the daemon to one slot. It passes bytes on as they come,
// until it is told to misbehave. It has several addresses, so that the slot can
// move for the configuration and stay for the link.
type link struct {
	to    string
	addrs []string

	mu        sync.Mutex
	listeners []net.Listener
	relays    map[*relay]struct{}
	served    int       // relays so far
	does      faultKind // good: "" passes on
	pace      time.Duration
	over      chan struct{} // closed when does ends
	closed    bool
	all       sync.WaitGroup
}

// relay is one connection to the slot.
type relay struct {
	near, far *net.TCPConn
	number    int // how many came before it
	// touched says that a fault has swallowed something of it: it cannot go on.
	touched bool
}

// openLink listens on as many addresses as asked for.
func openLink(to string, addresses int) (*link, error) {
	l := &link{to: to, relays: map[*relay]struct{}{}, over: make(chan struct{})}
	for range addresses {
		addr, err := freeAddr()
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.addrs = append(l.addrs, addr)
	}
	return l, l.listen()
}

func (l *link) listen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, addr := range l.addrs[len(l.listeners):] {
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		l.listeners = append(l.listeners, listener)
		l.all.Go(func() { l.accept(listener) })
	}
	return nil
}

func (l *link) deafen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, listener := range l.listeners {
		listener.Close()
	}
	l.listeners = nil
}

// close ends everything and waits for it.
func (l *link) close() error {
	l.deafen()
	l.mu.Lock()
	l.closed = true
	for r := range l.relays {
		r.reset()
	}
	if l.does != "" {
		close(l.over)
		l.does = ""
	}
	l.mu.Unlock()
	l.all.Wait()
	return nil
}

func (l *link) accept(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		l.all.Go(func() { l.relay(near.(*net.TCPConn)) })
	}
}

// relay connects to the slot and passes bytes in both directions.
func (l *link) relay(near *net.TCPConn) {
	if does, _, _ := l.state(); does == linkReset {
		reset(near)
		return
	}
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		// The slot is not there. Our own accepting it must not look like a slot
		// that reads and hangs up.
		reset(near)
		return
	}
	r := &relay{near: near, far: far.(*net.TCPConn)}
	if !l.enter(r) {
		r.reset()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.pass(r, r.far, r.near, false) })
	both.Go(func() { l.pass(r, r.near, r.far, true) })
	both.Wait()
	l.leave(r)
	near.Close()
	far.Close()
}

func (l *link) enter(r *relay) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.relays[r] = struct{}{}
	}
	l.served++
	r.number = l.served
	return !l.closed
}

func (l *link) leave(r *relay) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.relays, r)
}

func (l *link) state() (does faultKind, pace time.Duration, over <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.does, l.pace, l.over
}

// touch marks what cannot go on after the fault, unless that is over already.
func (l *link) touch(r *relay, does faultKind) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.does != does {
		return false
	}
	r.touched = true
	return true
}

// pass copies one direction to its end.
func (l *link) pass(r *relay, to, from *net.TCPConn, answer bool) {
	piece := make([]byte, 16<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 && !l.give(r, to, piece[:n], answer) {
			r.reset()
			return
		}
		if errors.Is(err, io.EOF) {
			to.CloseWrite()
			return
		}
		if err != nil {
			r.reset()
			return
		}
	}
}

// give passes a piece on as the fault of the moment has it, and reports whether
// the connection goes on.
func (l *link) give(r *relay, to *net.TCPConn, piece []byte, answer bool) bool {
	does, pace, over := l.state()
	switch does {
	case linkReset:
		return false
	case linkDead:
		// Of every second connection only the answers are lost: what was asked is
		// done, and must not be asked again.
		if (answer || r.number%2 == 0) && l.touch(r, does) {
			<-over
			return false
		}
	case linkCut:
		// Of every second one nothing of the answer gets through.
		if answer && l.touch(r, does) {
			to.Write(piece[:len(piece)/2*(r.number%2)])
			return false
		}
	case linkDelayed:
		wait(over, pace)
	case linkSlow:
		for len(piece) > 1024 {
			if _, err := to.Write(piece[:1024]); err != nil {
				return false
			}
			piece = piece[1024:]
			wait(over, pace)
		}
	}
	_, err := to.Write(piece)
	return err == nil
}

func wait(over <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-over:
	}
}

// misbehave does so for a while, or until ctx ends. When it returns the link is
// whole again, and no connection is left that is not.
func (l *link) misbehave(ctx context.Context, does faultKind, lasts, pace time.Duration) error {
	l.mu.Lock()
	l.does, l.pace, l.over = does, pace, make(chan struct{})
	if does == linkReset {
		for r := range l.relays {
			r.reset()
		}
	}
	l.mu.Unlock()
	if does == linkRefused {
		l.deafen()
	}
	pause(ctx, lasts)
	l.mu.Lock()
	l.does = ""
	for r := range l.relays {
		if r.touched {
			r.reset()
		}
	}
	close(l.over)
	l.mu.Unlock()
	if does == linkRefused {
		return eventually(context.WithoutCancel(ctx), l.listen)
	}
	return nil
}

func (r *relay) reset() { reset(r.near); reset(r.far) }

// reset closes with a reset instead of a good end.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	conn.Close()
}
