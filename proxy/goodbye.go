package proxy

import (
	"cmp"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// What the two ends of a WebSocket are told when it is ended (RFC 6455, section
// 7.4): the client to come back, for another slot is there; the slot, as by a
// page that is left, that its client goes.
const (
	closeRestart = 1012
	closeGoing   = 1001
	closeReason  = "service restart"
)

// goodbyeTime is how long either end of a WebSocket may take to answer a Close.
const goodbyeTime = time.Second

// goodbye ends a WebSocket as its protocol has it. The slot is told first, at the
// end of a frame of the client's: what it said before it answers still reaches
// the client, which is told then, at the end of a frame of the slot's, and may
// answer in its turn. What the client says meanwhile goes nowhere, as it does
// when a server ends a WebSocket by itself.
type goodbye struct {
	code uint16 // for the client

	asked    atomic.Bool
	toldSlot atomic.Bool

	client, slot frames // each belongs to the goroutine that reads it

	mu         sync.Mutex
	askedAt    time.Time
	toldClient time.Time
}

func newGoodbye(code int) *goodbye {
	return &goodbye{code: uint16(cmp.Or(code, closeRestart)), client: frames{masked: true}}
}

// The methods of a nil goodbye are for what is no WebSocket.

func (g *goodbye) isAsked() bool { return g != nil && g.asked.Load() }

func (g *goodbye) fromClient() *frames {
	if g == nil {
		return nil
	}
	return &g.client
}

func (g *goodbye) fromSlot() *frames {
	if g == nil {
		return nil
	}
	return &g.slot
}

// ask implements [stream]. What is no WebSocket has no way to end that costs
// nothing.
func (u *upgraded) ask(now time.Time) {
	g := u.goodbye
	if g == nil || g.isAsked() {
		return
	}
	g.mu.Lock()
	g.askedAt = now
	g.mu.Unlock()
	g.asked.Store(true)
	u.client.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a connection that is closed ends by itself
	u.slot.SetReadDeadline(time.Unix(1, 0))   //nolint:errcheck // likewise
}

// abort implements [stream].
func (u *upgraded) abort() { u.cut(causeStreamCut, errStreamCut) }

// endToSlot passes on what the client has said, up to the end of a frame, and
// tells the slot that it goes. Then it waits for the client's own Close.
func (u *upgraded) endToSlot(d *direction, b []byte, err error) bool {
	g := u.goodbye
	if g.toldSlot.Load() || d.frames.closed {
		d.frames.scan(b)
	} else if !u.tellSlot(d, b) {
		return true
	}
	switch {
	case d.frames.closed:
		return true
	case err == nil || isTimeout(err):
		return !u.awaitClient(time.Now())
	case err != io.EOF && !g.toldSlot.Load():
		d.srcFailed(err)
	case err == io.EOF:
		d.dst.CloseWrite() //nolint:errcheck // it ends anyway
	}
	return true
}

// tellSlot reports false if the slot cannot be told any more.
func (u *upgraded) tellSlot(d *direction, b []byte) bool {
	ends := 0 // of b, what comes before the last place where a Close may go; -1: there is none
	if !d.frames.between() {
		ends = -1
	}
	for n := 0; n < len(b); {
		n += d.frames.next(b[n:])
		if d.frames.between() {
			ends = n
		}
	}
	if ends < 0 || d.frames.closed {
		return u.pass(d, b)
	}
	u.goodbye.toldSlot.Store(true)
	return u.pass(d, b[:ends]) && u.say(d, appendClose(nil, true, closeGoing, ""))
}

// say writes what nobody but us has said.
func (u *upgraded) say(d *direction, b []byte) bool {
	_, err := d.dst.Write(b)
	return err == nil
}

// awaitClient bounds the wait for the client's Close, from when it was told, and
// reports false if that is over.
func (u *upgraded) awaitClient(now time.Time) bool {
	g := u.goodbye
	g.mu.Lock()
	defer g.mu.Unlock()
	until := time.Time{}
	if !g.toldClient.IsZero() {
		if until = g.toldClient.Add(goodbyeTime); !now.Before(until) {
			return false
		}
	}
	u.client.SetReadDeadline(until) //nolint:errcheck // the read tells
	return true
}

// endToClient passes on what the slot says, up to its own Close or, if that does
// not come, up to the end of the frame that it is in when its time is over, and
// tells the client.
func (u *upgraded) endToClient(d *direction, b []byte, err error) bool {
	g, n := u.goodbye, 0
	for n < len(b) && !(g.toldSlot.Load() && d.frames.begins(b[n])) {
		n += d.frames.next(b[n:])
	}
	if !u.pass(d, b[:n]) {
		return true
	}
	now, ended := time.Now(), err != nil && !isTimeout(err)
	until := g.since().Add(goodbyeTime)
	if d.frames.between() && (ended || n < len(b) || d.frames.closed || !now.Before(until)) {
		if d.frames.closed || u.say(d, appendClose(nil, false, g.code, closeReason)) {
			u.clientWasTold(now)
		}
		return true
	}
	if ended && g.toldSlot.Load() {
		u.abort() // it went when it was told to, in the middle of a frame
		return true
	}
	if ended {
		d.srcFailed(err)
		return true
	}
	if !now.Before(until) {
		until = time.Time{} // in the middle of a frame, or where none can be told
	}
	u.slot.SetReadDeadline(until) //nolint:errcheck // the read tells
	return false
}

func (g *goodbye) since() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.askedAt
}

// clientWasTold begins the wait for its answer.
func (u *upgraded) clientWasTold(now time.Time) {
	g := u.goodbye
	g.mu.Lock()
	defer g.mu.Unlock()
	g.toldClient = now
	u.client.SetReadDeadline(now.Add(goodbyeTime)) //nolint:errcheck // the read tells
}
