package proxy

import (
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// laneAnswer is how much of an answer is read at once, and its longest head. Two
	// of them hold 64 KiB with a head; larger ones make large bodies slower, which
	// stay in the processor's fastest cache so.
	laneAnswer = 33 << 10
	// laneHeadRoom is what an answer's head may grow by on its way.
	laneHeadRoom = 256
)

// answerRoom is where the parts of an answer lie on their way. One is taken when
// something has come, and given back before the next wait where nothing in it is
// needed any more: a request that waits for its slot holds none.
type answerRoom [laneHeadRoom + laneAnswer]byte

var answerRooms = sync.Pool{New: func() any { return new(answerRoom) }}

func takeRoom() []byte { return answerRooms.Get().(*answerRoom)[:] }

// leaveRoom gives back a room. One that has grown is no such room any more.
func leaveRoom(b []byte) {
	if len(b) == len(answerRoom{}) {
		answerRooms.Put((*answerRoom)(b))
	}
}

// leaveRoom gives back the one that the exchange has, if it has one.
func (x *laneExchange) leaveRoom() {
	leaveRoom(x.buf)
	x.buf = nil
}

// answerRead is a read from the slot.
type answerRead struct {
	buf   []byte // a room; nil where one is taken when something has come
	from  int    // where in it the bytes go
	spare int    // how much stays free behind them
	got   int    // bytes that were not taken yet
}

// read reads once from the slot into x.buf, from there on and up to what is to
// stay free behind it. What ask has read comes first.
func (x *laneExchange) read(from, spare int) (int, error) {
	c := x.slot
	a := &c.asking
	if a.got == 0 && a.err == nil {
		a.answerRead, a.written = answerRead{buf: x.buf, from: from, spare: spare}, true
		if err := c.stay(); err != nil {
			return 0, err
		}
	}
	n, err := a.got, a.err
	x.buf, a.answerRead, a.err = a.buf, answerRead{}, nil
	return n, err
}

// hear is called when there may be something of an answer.
func (c *slotConn) hear(fd uintptr) bool {
	a, room := &c.asking, c.asking.buf
	if room == nil {
		room = takeRoom()
	}
	a.got, a.err = readSocket(fd, room[a.from:len(room)-a.spare])
	switch {
	case a.err == unix.EAGAIN:
		if a.err = nil; a.buf == nil {
			leaveRoom(room)
		}
		return false
	case a.err == nil && a.got == 0:
		a.err = io.EOF
	case a.err != nil:
		a.err = c.fault("read", a.err)
	}
	a.buf = room
	return true
}
