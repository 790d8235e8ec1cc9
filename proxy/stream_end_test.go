package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

const (
	eventHead   = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	inChunks    = eventHead + "Transfer-Encoding: chunked\r\n\r\n"
	untilTheEnd = eventHead + "\r\n"
	askEvents   = "GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n"
)

func chunk(s string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(s), s) }

// streamsEndIn says how long streams have for their end.
func streamsEndIn(bound time.Duration) func(*frontOptions) {
	return func(o *frontOptions) { o.service.StreamBound = bound }
}

// endStreams ends the streams of blue, which stays active, and returns the counts.
func (f *front) endStreams() chan StreamCount {
	counted := make(chan StreamCount, 1)
	go func() { counted <- f.proxy.EndStreams(context.Background(), "backend", "blue") }()
	return counted
}

func (f *front) wantCount(counted chan StreamCount, want StreamCount) {
	f.t.Helper()
	select {
	case got := <-counted:
		if got != want {
			f.t.Errorf("the streams: %+v, want %+v", got, want)
		}
	case <-time.After(patience):
		f.t.Fatal("the streams do not end")
	}
	f.await("the claims to be released", func() bool { s := f.stats(); return s.InFlight == 0 && s.Streams == 0 })
	if s := f.stats(); s.StreamsEnded != want.Ended || s.StreamsCut != want.Cut || s.Faults != 0 {
		f.t.Errorf("the statistics say %d ended, %d cut, %d faults", s.StreamsEnded, s.StreamsCut, s.Faults)
	}
}

func (f *front) openStreams() []stream {
	retired, active, _ := f.proxy.targetsOf("backend", "blue")
	return openStreams(append(retired, active))
}

// asked waits until the only stream was asked to end.
func (f *front) asked() {
	f.t.Helper()
	f.await("the stream to be asked", func() bool {
		for _, s := range f.openStreams() {
			if e, ok := s.(*eventStream); ok && e.now() == streamAsked {
				return true
			}
			if u, ok := s.(*upgraded); ok && u.goodbye.isAsked() {
				return true
			}
		}
		return false
	})
}

// It ends at once where it waits between two events, whatever its chunks are, and
// cleanly for clients of all kinds.
func TestAnEventStreamEndsBetweenTwoEvents(t *testing.T) {
	const events = "retry: 1\n\nid: 1\ndata: one\n\n: heartbeat\n\n"
	for name, said := range map[string]string{
		"in chunks":                        inChunks + chunk(events),
		"in a chunk whose end is due":      inChunks + strings.TrimSuffix(chunk(events), "\r\n"),
		"in a chunk whose end is half due": inChunks + strings.TrimSuffix(chunk(events), "\n"),
		"in two chunks":                    inChunks + chunk(events[:15]) + chunk(events[15:]),
		"up to the end":                    untilTheEnd + events,
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/1.0", "HTTP/2.0"} {
			t.Run(name+", "+proto, func(t *testing.T) {
				gone := make(chan struct{})
				slot := proxytest.Start(t, func(c *proxytest.Conn) {
					c.Head()
					c.Say(said)
					c.Gone()
					close(gone)
				})
				f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
				body := f.events(proto)
				b := make([]byte, len(events))
				if _, err := io.ReadFull(body, b); err != nil || string(b) != events {
					t.Fatalf("%q, %v", b, err)
				}
				f.wantCount(f.endStreams(), StreamCount{Ended: 1})
				if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
					t.Errorf("it ends with %q, %v", rest, err)
				}
				<-gone
				if e := f.entry(1); e["cause"] != nil || e["aborted"] != nil || e["stream"] != true {
					t.Errorf("access log: %v", e)
				}
			})
		}
	}
}

// events asks for the event stream and returns its body.
func (f *front) events(proto string) io.Reader {
	f.t.Helper()
	if proto != "HTTP/2.0" {
		c := f.dial()
		c.say(strings.Replace(askEvents, "HTTP/1.1", proto, 1))
		return c.answer("GET").Body
	}
	res, err := newClient(f.t, true).Get("http://" + f.addr + "/events")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { res.Body.Close() })
	return res.Body
}

// A slot that speaks HTTP/2 is read in another way.
func TestAnEventStreamOverHTTP2EndsBetweenTwoEvents(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", eventStreamMediaType)
		io.WriteString(w, "data: 1\n\n") //nolint:errcheck // the client tells
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	f := startFront(t, slot, streamsEndIn(time.Hour), func(o *frontOptions) { o.service.Protocol = H2C })
	body := f.events("HTTP/1.1")
	b := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(body, b); err != nil {
		t.Fatal(err)
	}
	f.wantCount(f.endStreams(), StreamCount{Ended: 1})
	if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
		t.Errorf("it ends with %q, %v", rest, err)
	}
}

// An event that has begun is waited for, in whatever chunks it comes.
func TestAnEventStreamThatWasAskedToEndEndsItsEventFirst(t *testing.T) {
	for name, said := range map[string][3]string{
		"in chunks":                   {inChunks + chunk("data: 1\n\ndata:"), chunk(" 2\n"), chunk("\n")},
		"in torn chunks":              {inChunks + chunk("data: 1\n\ndata:"), chunk(" 2\n")[:5], chunk(" 2\n")[5:] + chunk("\n") + "5"},
		"up to the end":               {untilTheEnd + "data: 1\n\ndata:", " 2\n", "\n"},
		"in the middle of all of CRs": {inChunks + chunk("data: 1\r\rdata:"), chunk(" 2\r"), chunk("\r")},
	} {
		t.Run(name, func(t *testing.T) {
			next := make(chan struct{}, len(said))
			defer close(next)
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				for _, s := range said {
					c.Say(s)
					<-next
				}
				c.Gone()
			})
			f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
			c := f.dial()
			c.say(askEvents)
			body := c.answer("GET").Body
			first := make([]byte, len("data: 1\n\ndata:"))
			if _, err := io.ReadFull(body, first); err != nil {
				t.Fatal(err)
			}
			counted := f.endStreams()
			f.asked()
			next <- struct{}{}
			next <- struct{}{}
			f.wantCount(counted, StreamCount{Ended: 1})
			rest, err := io.ReadAll(body)
			if got := strings.ReplaceAll(string(first)+string(rest), "\r", "\n"); err != nil || got != "data: 1\n\ndata: 2\n\n" {
				t.Errorf("the client got %q, %v", got, err)
			}
		})
	}
}

// A slot that never lets the stream wait, and whose chunks never end with an event,
// is followed up to an end of an event all the same, and not for long.
func TestABusyEventStreamEndsBetweenTwoEventsToo(t *testing.T) {
	for name, head := range map[string]string{"in chunks": inChunks, "up to the end": untilTheEnd} {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say(head)
				text := ""
				for n := 1; ; n++ {
					text += fmt.Sprintf("data: %d\n\n", n)
					if len(text) < 5000 {
						continue
					}
					said := text[:len(text)-5]
					text = text[len(said):]
					if head == inChunks {
						said = chunk(said)
					}
					if _, err := io.WriteString(c.Conn, said); err != nil {
						return
					}
				}
			})
			f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
			c := f.dial()
			c.say(askEvents)
			body := c.answer("GET").Body
			begun := make([]byte, 3000)
			if _, err := io.ReadFull(body, begun); err != nil {
				t.Fatal(err)
			}
			counted := f.endStreams()
			rest, err := io.ReadAll(body)
			if err != nil {
				t.Errorf("it does not end well: %v", err)
			}
			wantNumbered(t, string(begun)+string(rest))
			f.wantCount(counted, StreamCount{Ended: 1})
		})
	}
}

// wantNumbered wants whole events from 1 on.
func wantNumbered(t *testing.T, s string) {
	t.Helper()
	all := strings.SplitAfter(s, "\n\n")
	for i, event := range all[:len(all)-1] {
		if event != fmt.Sprintf("data: %d\n\n", i+1) {
			t.Fatalf("event %d is %q", i+1, event)
		}
	}
	if rest := all[len(all)-1]; rest != "" || len(all) < 100 {
		t.Fatalf("after %d events it ends with %q", len(all)-1, rest)
	}
}

// What came to the proxy before the end is passed on, up to the last event of it.
func TestEventsThatAreOnTheirWayAreNotLost(t *testing.T) {
	next := make(chan struct{}, 1)
	defer close(next)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say(inChunks + chunk("data: 1\n\ndata"))
		<-next
		c.Say(chunk(": 2\n\ndata: 3\n\n") + chunk("data: 4\n\n"))
		c.Gone()
	})
	f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
	c := f.dial()
	c.say(askEvents)
	body := c.answer("GET").Body
	counted := f.endStreams()
	f.asked()
	next <- struct{}{}
	if b, err := io.ReadAll(body); err != nil || string(b) != "data: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n" {
		t.Errorf("the client got %q, %v", b, err)
	}
	f.wantCount(counted, StreamCount{Ended: 1})
}

// What cannot be ended well in time is cut, and looks so; for the slot it is no
// fault.
func TestAStreamThatComesToNoPlaceToEndIsCut(t *testing.T) {
	for name, said := range map[string]string{
		"in an event":              inChunks + chunk("data: 1\n"),
		"in an event, to the end":  untilTheEnd + "data: 1\n",
		"in a chunk":               inChunks + "99\r\ndata: 1\n\n",
		"of a length that is said": eventHead + "Content-Length: 99\r\n\r\ndata: 1\n\n",
		"in a coding":              eventHead + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk("??????\n\n"),
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/1.0", "HTTP/2.0"} {
			if name == "in a chunk" && (proto != "HTTP/1.1" || *laneFlag != laneFast) {
				continue // where the chunks are ours anyway
			}
			t.Run(name+", "+proto, func(t *testing.T) {
				slot := proxytest.Start(t, func(c *proxytest.Conn) {
					c.Head()
					c.Say(said)
					c.Gone()
				})
				f := startFront(t, slot.Addr(), streamsEndIn(50*time.Millisecond))
				body := f.events(proto)
				if _, err := io.ReadFull(body, make([]byte, 8)); err != nil {
					t.Fatal(err)
				}
				f.wantCount(f.endStreams(), StreamCount{Cut: 1})
				if rest, err := io.ReadAll(body); err == nil {
					t.Errorf("it ends well after %q", rest)
				}
				if e := f.entry(1); e["cause"] != string(causeStreamCut) || e["caused_by"] != "operator" {
					t.Errorf("access log: %v", e)
				}
			})
		}
	}
}

func TestAStreamWhoseClientNeverReadsIsCut(t *testing.T) {
	flood := func(c *proxytest.Conn, head string, b string) {
		c.Head()
		c.Say(head)
		for {
			if _, err := io.WriteString(c.Conn, b); err != nil {
				return
			}
		}
	}
	events, frame := strings.Repeat("data: 1\n", 1000), string(frameOf(0x82, false, strings.Repeat("x", 60_000)))
	for name, tt := range map[string]struct{ ask, head, said string }{
		"events":    {askEvents, inChunks, chunk(events)},
		"WebSocket": {handshake, switching101, frame},
	} {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) { flood(c, tt.head, tt.said) })
			f := startFront(t, slot.Addr(), streamsEndIn(100*time.Millisecond))
			c := f.dial()
			c.say(tt.ask)
			f.await("the stream", func() bool { return f.stats().Streams == 1 })
			f.await("the client to be full", func() bool {
				return f.anyConn(func(c *clientConn) bool { return unsent(t, c.Conn) > 0 })
			})
			f.wantCount(f.endStreams(), StreamCount{Cut: 1})
		})
	}
}
