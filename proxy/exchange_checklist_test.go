package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
)

// A request that waits keeps its body, of any size and framing, and goes on
// waiting when traffic moves meanwhile: only the release lets it go.
func TestAHeldRequestKeepsItsBody(t *testing.T) {
	blue, green := startHandler(t, echo), startHandler(t, echo)
	f := startFront(t, blue, func(o *frontOptions) { o.service.Slots["green"] = green })
	f.proxy.Hold("backend")
	body := strings.Repeat("0123456789", 100_000)
	var answers []chan string
	for _, http2 := range []bool{false, true} {
		for _, sized := range []bool{true, false} {
			answer := make(chan string, 1)
			answers = append(answers, answer)
			client := newClient(t, http2)
			go func() { answer <- post(t, client, f.addr, body, sized) }()
		}
	}
	f.await("all of them to wait", func() bool { return f.proxy.Waiting("backend") == 4 })
	retired, err := f.proxy.Swap(map[string]string{"backend": "green"})
	if err != nil {
		t.Fatal(err)
	}
	if counts, err := retired.Drain(t.Context()); err != nil || counts[0].Moved != 0 {
		t.Errorf("those that wait have claimed the old slot: %+v, %v", counts, err)
	}
	if n := f.proxy.Waiting("backend"); n != 4 {
		t.Errorf("after a swap %d still wait, want 4", n)
	}
	f.proxy.Release("backend")
	for _, answer := range answers {
		if got := <-answer; got != body {
			t.Errorf("%d bytes came back or differ, want %d: %.80s", len(got), len(body), got)
		}
	}
}

func post(t *testing.T, client *http.Client, addr, body string, sized bool) string {
	var reader io.Reader = strings.NewReader(body)
	if !sized {
		reader = unsized{reader}
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr, reader)
	if err != nil {
		return err.Error()
	}
	res, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// What the slot says of its own errors is its own: nothing is replaced or added.
func TestErrorsOfTheSlotAreLeftAlone(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for head := c.Head(); head != ""; head = c.Head() {
			status := strings.TrimPrefix(strings.Fields(head)[1], "/")
			c.Say("HTTP/1.1 " + status + " Mine\r\nDate: now\r\nContent-Type: text/plain\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nmine")
		}
	})
	f := startFront(t, slot.Addr())
	c := f.dial()
	statuses := []string{"400", "404", "499", "500", "502", "503", "504", "599"}
	for _, status := range statuses {
		for _, accept := range []string{"text/html", "application/json", "text/event-stream"} {
			c.say("GET /" + status + " HTTP/1.1\r\nHost: a\r\nAccept: " + accept + "\r\n\r\n")
			res, body := c.whole("GET")
			want := http.Header{"Date": {"now"}, "Content-Type": {"text/plain"}, "Retry-After": {"7"}, "Content-Length": {"4"}}
			if diff := cmp.Diff(want, res.Header); diff != "" || fmt.Sprint(res.StatusCode) != status || body != "mine" {
				t.Errorf("%s %q, fields (-want +got):\n%s", res.Status, body, diff)
			}
		}
	}
	if slot.Accepted() != 1 || f.stats().Faults != 0 {
		t.Errorf("%d connections, %d faults", slot.Accepted(), f.stats().Faults)
	}
}

// A 101 that cannot be used must not leave its connection to the slot behind.
func TestARefusedTunnelClosesItsConnectionToTheSlot(t *testing.T) {
	for name, request := range map[string]string{
		"nobody asked":     "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"another protocol": handshake,
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
				io.Copy(io.Discard, c) //nolint:errcheck // its end is what counts
				close(gone)
			})
			f := startFront(t, slot.Addr())
			c := f.dial()
			c.say(request)
			if res := c.answer("GET"); res.StatusCode != 502 {
				t.Error(res.Status)
			}
			<-gone
			f.await("the claim to end", func() bool { return f.stats().InFlight == 0 })
			if s := f.stats(); s.Streams != 0 {
				t.Errorf("streams %d", s.Streams)
			}
		})
	}
}

// golang/go#75807: one side has said its last word, the other has vanished.
func TestATunnelThatIsHalfClosedAndSilentEnds(t *testing.T) {
	slot := startTunnelSlot(t, func(c *proxytest.Conn) {
		io.Copy(io.Discard, c) //nolint:errcheck // up to the client's half-close
		c.Hang()
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.StreamIdleTimeout = 50 * time.Millisecond })
	c := f.openTunnel()
	c.closeWrite()
	c.ended()
	if e := f.entry(1); e["cause"] != string(causeStreamIdle) {
		t.Errorf("access log: %v", e)
	}
	if s := f.stats(); s.InFlight != 0 || s.Streams != 0 {
		t.Errorf("in flight %d, streams %d", s.InFlight, s.Streams)
	}
}

// A tunnel carries bytes and knows no frames: pings between fragments, close
// codes, text that is not UTF-8 and compressed messages are the two ends' own.
func TestFramesPassATunnelUntouched(t *testing.T) {
	const extensions = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
	heads := make(chan string, 1)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		heads <- c.Head()
		c.Say(strings.TrimSuffix(switching101, "\r\n") + extensions + "\r\n")
		copyBack(c)
	})
	c := startFront(t, slot.Addr()).dial()
	c.say(strings.TrimSuffix(handshake, "\r\n") + extensions + "\r\n")
	if head := c.lines(); !strings.Contains(head, extensions) || !strings.Contains(<-heads, extensions) {
		t.Errorf("the extensions were touched:\n%s", head)
	}
	for _, frames := range []string{
		"\x01\x83mask\x05\x0e\x10" + "\x89\x80mask" + "\x80\x83mask\x0b\x07\x15", // a text in two, a ping between
		"\x81\x84mask\x80\xff\xfe\xc0",                                           // not UTF-8
		"\xc1\x87mask\xf2\x48\xcd\xc9\xc9\x07\x00",                               // compressed
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",                               // nonsense
		"\x88\x85mask\x10\xe0bye",                                                // close, 4321
	} {
		c.say(frames)
		c.expect(frames)
	}
	c.closeWrite()
	c.ended()
}
