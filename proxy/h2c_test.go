package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"charactier-proxy/proxy/proxytest"

	"golang.org/x/net/http2"
)

func h2cService(address string, change ...func(*Service)) *Service {
	s := testService(address)
	s.Protocol = H2C
	for _, f := range change {
		f(s)
	}
	return s
}

func h2cTo(t testing.TB, address string, change ...func(*Service)) *h2cTransport {
	t.Helper()
	rt := newTransport(h2cService(address, change...), "blue", nil).(*h2cTransport)
	t.Cleanup(rt.Retire)
	return rt
}

func TestHTTP2BodiesAndTrailersPass(t *testing.T) {
	address := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("the slot was spoken to in %s", r.Proto)
		}
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body) //nolint:errcheck // the client tells
		w.Header().Set("X-Sum", r.Trailer.Get("X-Sum"))
	})
	want := strings.Repeat("x", 1<<20)
	req := newRequest(t, "POST", unsized{strings.NewReader(want)})
	req.Trailer = http.Header{"X-Sum": {"7"}}
	res, got := roundTrip(t, h2cTo(t, address), req)
	if got != want || res.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%d bytes and trailer %q", len(got), res.Trailer.Get("X-Sum"))
	}
}

// gRPC's trailers-only answers must be recognisable.
func TestHTTP2AnswersThatEndWithTheirHeadHaveNoBody(t *testing.T) {
	address := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Length"] = nil
		w.Header().Set("Grpc-Status", "12")
	})
	res, _ := roundTrip(t, h2cTo(t, address), newRequest(t, "POST", unsized{strings.NewReader("x")}))
	if res.Body != http.NoBody || res.Header.Get("Grpc-Status") != "12" {
		t.Errorf("body %T, header %v", res.Body, res.Header)
	}
}

func TestHTTP2SlotFaultsHaveTheirCause(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	wait := func(r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		want   cause
	}{
		{"silent", func(w http.ResponseWriter, r *http.Request) { wait(r) }, causeHeaderTimeout},
		{"stalled", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "x")                //nolint:errcheck // the client tells
			http.NewResponseController(w).Flush() //nolint:errcheck // the client tells
			wait(r)
		}, causeStalled},
		{"reset", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, causeReset},
		{"reset in the body", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "x")                //nolint:errcheck // the client tells
			http.NewResponseController(w).Flush() //nolint:errcheck // the client tells
			panic(http.ErrAbortHandler)
		}, causeReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rt := h2cTo(t, startHandler(t, tt.handle), func(s *Service) {
				s.ResponseHeaderTimeout, s.StreamIdleTimeout = soon, soon
			})
			res, err := rt.RoundTrip(newRequest(t, "GET", nil))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if causeOf(err) != tt.want {
				t.Errorf("cause %q of %v, want %q", causeOf(err), err, tt.want)
			}
		})
	}
	t.Run("not HTTP/2", func(t *testing.T) {
		slot := proxytest.Start(t, func(c *proxytest.Conn) { c.Say("HTTP/1.1 400 Bad Request\r\n\r\n") })
		_, err := h2cTo(t, slot.Addr()).RoundTrip(newRequest(t, "GET", nil))
		if c := causeOf(err); !c.ofSlot() {
			t.Errorf("cause %q of %v, want one of the slot", c, err)
		}
	})
}

// resettingSlot resets every stream with the code, and counts them.
func resettingSlot(t testing.TB, code http2.ErrCode) (string, *atomic.Int64) {
	t.Helper()
	var streams atomic.Int64
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		io.ReadFull(c, make([]byte, len(http2.ClientPreface))) //nolint:errcheck // the frames tell
		f := http2.NewFramer(struct{ net.Conn }{c.Conn}, c)
		f.WriteSettings() //nolint:errcheck // the other side tells
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				streams.Add(1)
				f.WriteRSTStream(h.StreamID, code) //nolint:errcheck // the other side tells
			}
		}
	})
	return slot.Addr(), &streams
}

// P3: net/http sends some requests again after a reset that does not say
// whether the slot saw them (golang/go#47635).
func TestHTTP2RequestsThatAreNotSafeGoOutOnce(t *testing.T) {
	for _, code := range []http2.ErrCode{http2.ErrCodeProtocol, http2.ErrCodeRefusedStream, http2.ErrCodeInternal} {
		for name, body := range map[string]io.Reader{"without a body": nil, "with a body": strings.NewReader("x")} {
			t.Run(code.String()+" "+name, func(t *testing.T) {
				address, streams := resettingSlot(t, code)
				_, err := h2cTo(t, address).RoundTrip(newRequest(t, "POST", body))
				if causeOf(err) != causeReset || streams.Load() != 1 {
					t.Errorf("cause %q of %v after %d streams, want %q after 1", causeOf(err), err, streams.Load(), causeReset)
				}
			})
		}
	}
}

func TestRetiringAnHTTP2SlotEndsItsConnections(t *testing.T) {
	gone := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		defer close(gone)
		f := http2.NewFramer(struct{ net.Conn }{c.Conn}, c)
		io.ReadFull(c, make([]byte, len(http2.ClientPreface))) //nolint:errcheck // the frames tell
		f.WriteSettings()                                      //nolint:errcheck // the other side tells
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.HeadersFrame); ok {
				f.WriteHeaders(http2.HeadersFrameParam{ //nolint:errcheck // the other side tells
					StreamID: h.StreamID, BlockFragment: []byte{0x88}, EndStream: true, EndHeaders: true,
				})
			}
		}
	})
	rt := h2cTo(t, slot.Addr())
	roundTrip(t, rt, newRequest(t, "GET", nil))
	rt.Retire()
	<-gone
}

// mortalBody is a body that must not be used after its time, like that of a
// server's request.
type mortalBody struct {
	*endless
	t    testing.TB
	over atomic.Bool
}

func (b *mortalBody) Read(p []byte) (int, error) {
	b.use()
	defer b.use()
	return b.endless.Read(p)
}

func (b *mortalBody) Close() error {
	b.use()
	return b.endless.Close()
}

func (b *mortalBody) use() {
	if b.over.Load() {
		b.t.Error("the request's body was used after the answer's end")
	}
}

// net/http's client closes the body on a goroutine of its own.
func TestNobodyUsesABodyAfterTheAnswersEnd(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		io.ReadFull(c, make([]byte, len(http2.ClientPreface))) //nolint:errcheck // the frames tell
		f := http2.NewFramer(struct{ net.Conn }{c.Conn}, c)
		f.WriteSettings() //nolint:errcheck // the other side tells
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			h, ok := frame.(*http2.HeadersFrame)
			if !ok {
				continue
			}
			headOnly := h.StreamID%4 == 1
			f.WriteHeaders(http2.HeadersFrameParam{ //nolint:errcheck // the other side tells
				StreamID: h.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: headOnly,
			})
			if !headOnly {
				f.WriteData(h.StreamID, true, []byte("early")) //nolint:errcheck // the other side tells
			}
			f.WriteRSTStream(h.StreamID, http2.ErrCodeNo) //nolint:errcheck // the other side tells
		}
	})
	rt := h2cTo(t, slot.Addr())
	for range 100 {
		body := &mortalBody{endless: newEndless(), t: t}
		req := newRequest(t, "POST", body)
		res, err := rt.RoundTrip(req)
		if err == nil {
			io.Copy(io.Discard, res.Body) //nolint:errcheck // what arrives is not the question
			res.Body.Close()
		}
		body.over.Store(true)
	}
}

func TestTheContextEndsAnHTTP2Exchange(t *testing.T) {
	there := make(chan struct{})
	address := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		close(there)
		<-r.Context().Done()
	})
	why := errors.New("left")
	ctx, cancel := context.WithCancelCause(t.Context())
	req := newRequest(t, "GET", nil).WithContext(ctx)
	go func() { <-there; cancel(why) }()
	if _, err := h2cTo(t, address).RoundTrip(req); err != why {
		t.Errorf("error %v, want the context's cause", err)
	}
}
