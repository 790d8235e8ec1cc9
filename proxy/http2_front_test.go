package proxy

import (
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// await reads up to a frame of the wanted type, which must come.
func (fr *framer) await(want http2.FrameType) http2.Frame {
	fr.t.Helper()
	for {
		frame, err := fr.ReadFrame()
		if err != nil {
			fr.t.Fatalf("waiting for %v: %v", want, err)
		}
		if frame.Header().Type == want {
			return frame
		}
	}
}

// answer reads the head of an answer.
func (fr *framer) answer() *http2.MetaHeadersFrame {
	fr.t.Helper()
	return fr.await(http2.FrameHeaders).(*http2.MetaHeadersFrame)
}

// net/http checks neither of them where they come by HTTP/2.
func TestATargetOrHostThatCannotBeSaidInHTTP1IsTheClientsFault(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr())
	for name, said := range map[string]struct{ path, host string }{
		"a space in the path":    {"/a b", "a.example"},
		"a space in the query":   {"/a?b c", "a.example"},
		"a space in the host":    {"/", "a example"},
		"a space before a colon": {"/", "a :80"},
	} {
		c := f.dialFrames(t)
		c.ask(nil, ":method", "GET", ":scheme", "http", ":authority", said.host, ":path", said.path)
		var status, why string
		for _, field := range c.answer().Fields {
			switch {
			case field.Name == ":status":
				status = field.Value
			case strings.EqualFold(field.Name, errorCauseField):
				why = field.Value
			}
		}
		if status != "400" || why != string(causeBadTarget) {
			t.Errorf("%s: %s %q", name, status, why)
		}
	}
	if slot.Accepted() != 0 {
		t.Error("the slot was asked")
	}
}

// Whoever is slow to say what he wants must not keep the others from hearing
// that they should go elsewhere.
func TestHTTP2IsToldToGoWhileAnothersHeadIsStillArriving(t *testing.T) {
	addr, arrived, letGo := gate(t)
	f := startFront(t, addr)
	idle, busy, slow := f.dialFrames(t), f.dialFrames(t), f.dial()
	for _, c := range []*framer{idle, busy} {
		c.ask(nil, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/free")
		c.answer()
		<-arrived
	}
	busy.stream = 3
	busy.ask(nil, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/slow")
	<-arrived
	slow.say("GET /free HTTP/1.1\r\nHo")
	f.await("the first bytes to be read", func() bool { return unsent(t, slow.Conn) == 0 })
	done := f.stopping()
	for _, c := range []*framer{idle, busy} {
		c.await(http2.FrameGoAway)
	}
	slow.say("st: a\r\n\r\n")
	if res, _ := slow.whole("GET"); res.StatusCode != 200 || !res.Close {
		t.Errorf("%s, close %v", res.Status, res.Close)
	}
	close(letGo)
	busy.answer()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
