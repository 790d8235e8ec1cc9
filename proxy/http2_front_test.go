package proxy

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawHTTP2 is a client of HTTP/2 that says exactly what it is told to.
type rawHTTP2 struct {
	*http2.Framer
	t testing.TB
}

func (f *front) dialHTTP2() *rawHTTP2 {
	f.t.Helper()
	c := f.dial()
	c.say(http2.ClientPreface)
	h := &rawHTTP2{http2.NewFramer(c.Conn, c.r), f.t}
	h.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := h.WriteSettings(); err != nil {
		f.t.Fatal(err)
	}
	return h
}

// ask sends a request without a body; fields are names and values by turns.
func (h *rawHTTP2) ask(stream uint32, fields ...string) {
	h.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) //nolint:errcheck // a buffer takes all
	}
	if err := h.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
	}); err != nil {
		h.t.Fatal(err)
	}
}

// await reads up to a frame of the wanted type, which must come.
func (h *rawHTTP2) await(want http2.FrameType) http2.Frame {
	h.t.Helper()
	for {
		frame, err := h.ReadFrame()
		if err != nil {
			h.t.Fatalf("waiting for %v: %v", want, err)
		}
		if frame.Header().Type == want {
			return frame
		}
	}
}

// answer reads the head of an answer.
func (h *rawHTTP2) answer() *http2.MetaHeadersFrame {
	h.t.Helper()
	return h.await(http2.FrameHeaders).(*http2.MetaHeadersFrame)
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
		c := f.dialHTTP2()
		c.ask(1, ":method", "GET", ":scheme", "http", ":authority", said.host, ":path", said.path)
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
	idle, busy, slow := f.dialHTTP2(), f.dialHTTP2(), f.dial()
	for _, c := range []*rawHTTP2{idle, busy} {
		c.ask(1, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/free")
		c.answer()
		<-arrived
	}
	busy.ask(3, ":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/slow")
	<-arrived
	slow.say("GET /free HTTP/1.1\r\nHo")
	f.await("the first bytes to be read", func() bool { return unsent(t, slow.Conn) == 0 })
	done := f.stopping()
	for _, c := range []*rawHTTP2{idle, busy} {
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
