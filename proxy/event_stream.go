package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// eventStream is an event stream that can be ended between two events: while it
// waits there for its slot, or, where the slot never lets it wait, at the last
// such place in what came. Its methods but those of [stream] are its reader's.
type eventStream struct {
	// interrupt ends the reader's wait for the slot and, if all is to be cut, for the
	// client too. It is called again where it may have been overtaken.
	interrupt func(all bool)
	// deaf says that the stream is not one that can be followed.
	deaf bool
	events

	mu      sync.Mutex
	phase   streamPhase
	asked   time.Time
	waiting bool // the reader waits for the slot where the stream may end
}

type streamPhase uint8

const (
	streamOpen  streamPhase = iota
	streamAsked             // to end
	streamEnded             // what comes from the slot now is not passed on
	streamCut               // the same, and it does not end well
	streamLeft              // its reader is done with it
)

// settleTime is how long a stream that was asked to end goes on for as long as its
// slot has more to say: it was on its way already.
const settleTime = time.Second

// ask implements [stream].
func (s *eventStream) ask(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == streamOpen {
		s.phase, s.asked = streamAsked, now
	}
	if s.phase == streamAsked && s.waiting {
		s.phase = streamEnded
	}
	if s.phase == streamEnded {
		s.interrupt(false)
	}
}

// abort implements [stream].
func (s *eventStream) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != streamLeft {
		s.phase = streamCut
		s.interrupt(true)
	}
}

// await begins a wait for the slot; ends says whether the stream may end where it
// is.
func (s *eventStream) await(ends bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = ends && !s.deaf
}

// came ends the wait and returns the phase. In the last three of them, what came
// is not to be passed on.
func (s *eventStream) came() streamPhase {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = false
	return s.phase
}

// now returns the phase. A nil stream is open.
func (s *eventStream) now() streamPhase {
	if s == nil {
		return streamOpen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.phase
}

// settled ends the stream, and reports so, if it was asked to long enough ago.
func (s *eventStream) settled(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase != streamAsked || now.Sub(s.asked) < settleTime {
		return false
	}
	s.phase = streamEnded
	return true
}

// leave is the reader's last word: from then on nobody interrupts it. It returns
// the phase before.
func (s *eventStream) leave() streamPhase {
	if s == nil {
		return streamOpen
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.phase
	s.phase = streamLeft
	return was
}

// beginEvents makes a relay of one whose answer is an event stream.
func (x *relay) beginEvents(res *http.Response) *eventStream {
	s := &eventStream{deaf: res.ContentLength >= 0 || isEncoded(res.Header.Get("Content-Encoding"))}
	s.interrupt = func(all bool) {
		x.cancel(errStreamCut)
		if all {
			x.control.SetWriteDeadline(time.Unix(1, 0)) //nolint:errcheck // what cannot be interrupted ends by itself
		}
	}
	x.events = s
	x.beginStream(s)
	return s
}

// isEncoded reports whether a content coding is one.
func isEncoded(coding string) bool { return coding != "" && !strings.EqualFold(coding, "identity") }

// readEvents is Read for an event stream.
func (b *slotBody) readEvents(s *eventStream, p []byte) (int, error) {
	s.await(s.between())
	n, err := b.ReadCloser.Read(p)
	switch s.came() {
	case streamEnded:
		return 0, io.EOF
	case streamCut:
		b.x.blame(errStreamCut)
		return 0, errStreamCut
	}
	if last := s.scan(p[:n]); err == nil && last >= 0 && s.settled(time.Now()) {
		return last, io.EOF
	}
	return n, err
}
