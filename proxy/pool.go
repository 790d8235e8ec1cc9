package proxy

import (
	"sync"
	"time"
)

// pool keeps the idle connections to one slot. The one that was used last is
// used next, so that a quiet pool shrinks and those in use stay young. It owns
// no goroutine: a timer runs only while something is idle.
type pool struct {
	maxIdle   int           // 0 means no bound
	idleLimit time.Duration // for slots that do not name their own; 0 means no bound

	mu      sync.Mutex
	idle    []*slotConn // the youngest last
	timer   *time.Timer // runs prune; nil while nothing is due
	due     time.Time   // when it does
	retired bool
	paused  bool // nothing is kept
}

// get returns an idle connection that is still good, or nil.
func (p *pool) get(now time.Time) *slotConn {
	for {
		c := p.next(now)
		if c == nil || c.quiet() {
			return c
		}
		c.Close()
	}
}

// next returns an idle connection that is young enough, or nil. Whoever uses it
// must look first whether it is quiet.
func (p *pool) next(now time.Time) *slotConn {
	for {
		c := p.pop()
		if c == nil || now.Before(c.expiry) {
			if c != nil {
				c.reused = true
			}
			return c
		}
		c.Close()
	}
}

func (p *pool) pop() *slotConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// put takes back a connection whose last exchange ended cleanly, or closes it
// when it may not be used again.
func (p *pool) put(c *slotConn, now time.Time) {
	if !p.keep(c, now) {
		c.Close()
	}
}

func (p *pool) keep(c *slotConn, now time.Time) bool {
	if c.idleFor(p.idleLimit, now) <= 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || p.paused || p.maxIdle > 0 && len(p.idle) >= p.maxIdle {
		return false
	}
	p.idle = append(p.idle, c)
	p.arm(c.expiry)
	return true
}

// arm sees to it that prune runs at the given time or before. p.mu must be held.
func (p *pool) arm(at time.Time) {
	switch {
	case p.timer == nil:
		p.timer = time.AfterFunc(time.Until(at), p.prune)
	case at.Before(p.due):
		p.timer.Reset(time.Until(at))
	default:
		return
	}
	p.due = at
}

// prune closes what has been idle for too long and comes back when the next
// connection is due.
func (p *pool) prune() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = nil
	kept := p.idle[:0]
	for _, c := range p.idle {
		if !now.Before(c.expiry) {
			c.Close()
			continue
		}
		kept = append(kept, c)
		p.arm(c.expiry)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
}

// retire closes the idle connections and keeps no further one.
func (p *pool) retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retired = true
	p.closeIdle()
}

// pause is retire for a while.
func (p *pool) pause(paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = paused
	if paused {
		p.closeIdle()
	}
}

// closeIdle closes the idle connections. p.mu is held.
func (p *pool) closeIdle() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}
