package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"github.com/coder/websocket"
)

const handshake = "GET /ws?x=1;y HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://a.example\r\n\r\n"

const switching101 = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// startTunnelSlot runs a slot that switches and then does as script says.
func startTunnelSlot(t *testing.T, script func(*proxytest.Conn)) *proxytest.Slot {
	return proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say(switching101)
		script(c)
	})
}

// openTunnel shakes hands through the proxy.
func (f *front) openTunnel() *rawClient {
	f.t.Helper()
	c := f.dial()
	c.say(handshake)
	if head := c.lines(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		f.t.Fatalf("the answer is\n%s", head)
	}
	return c
}

func (c *rawClient) expect(want string) {
	c.t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, b); err != nil || string(b) != want {
		c.t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func (c *rawClient) closeWrite() { c.Conn.(*net.TCPConn).CloseWrite() } //nolint:errcheck // the peer tells

func copyBack(c *proxytest.Conn) { io.Copy(c.Conn, c) } //nolint:errcheck // the client tells

func TestAHandshakePassesWithItsSpellingAndNothingElse(t *testing.T) {
	heads := make(chan string, 1)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		heads <- c.Head()
		c.Say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n" +
			"Sec-WebSocket-Accept: abc=\r\nSec-WebSocket-Protocol: chat\r\nSet-Cookie: a=1\r\n\r\n")
		c.Gone()
	})
	c := startFront(t, slot.Addr()).dial()
	c.say(handshake)
	want := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: abc=\r\nSec-WebSocket-Protocol: chat\r\n" +
		"Set-Cookie: a=1\r\nUpgrade: websocket\r\n\r\n"
	if got := c.lines(); got != want {
		t.Errorf("the client saw\n%s", got)
	}
	head := <-heads
	for _, line := range []string{
		"GET /ws?x=1;y HTTP/1.1\r\n", "\r\nConnection: Upgrade\r\n", "\r\nUpgrade: WebSocket\r\n", "\r\nOrigin: http://a.example\r\n",
		"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "\r\nHost: a.example\r\n",
	} {
		if !strings.Contains(head, line) {
			t.Errorf("the slot did not see %q in\n%s", line, head)
		}
	}
}

func TestWebSocketMessagesPassBothWays(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			return
		}
		c.SetReadLimit(1 << 20)
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return // and a close frame was answered by the package
			}
			if c.Write(r.Context(), kind, b) != nil {
				return
			}
		}
	})
	f := startFront(t, slot)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+f.addr, &websocket.DialOptions{
		HTTPClient: newClient(t, false), CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(1 << 20)
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 500_000} {
		sent := bytes.Repeat([]byte("x"), size)
		if err := c.Write(ctx, websocket.MessageBinary, sent); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes: got %d, %v", size, len(got), err)
		}
	}
	if s := f.stats(); s.Streams != 1 || s.InFlight != 1 {
		t.Errorf("streams %d, in flight %d", s.Streams, s.InFlight)
	}
	if err := c.Close(4321, "reason"); err != nil {
		t.Errorf("closing: %v", err)
	}
	e := f.entry(1)
	if e["status"] != int64(101) || e["upgrade"] != "websocket" || e["cause"] != nil {
		t.Errorf("access log: %v", e)
	}
	if in := e["bytes_in"].(int64); in == 0 || e["bytes_out"].(int64) == 0 {
		t.Errorf("bytes: %v", e)
	}
	if s := f.stats(); s.Streams != 0 || s.InFlight != 0 {
		t.Errorf("left: streams %d, in flight %d", s.Streams, s.InFlight)
	}
}

// golang/go#80875.
func TestBytesSentBeforeThe101WasSeenAreKept(t *testing.T) {
	slot := startTunnelSlot(t, copyBack)
	f := startFront(t, slot.Addr())
	c := f.dial()
	c.say(handshake + "early bytes")
	c.lines()
	c.expect("early bytes")
	c.say("later")
	c.expect("later")
}

func TestBytesGluedToThe101AreKept(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say(switching101 + "glued")
		copyBack(c)
	})
	c := startFront(t, slot.Addr()).openTunnel()
	c.expect("glued")
	c.say("x")
	c.expect("x")
}

func TestAHalfCloseIsPassedOnAndTheOtherSideStillFlows(t *testing.T) {
	t.Run("by the client", func(t *testing.T) {
		slot := startTunnelSlot(t, func(c *proxytest.Conn) {
			b, _ := io.ReadAll(c)
			c.Say("got " + string(b))
		})
		c := startFront(t, slot.Addr()).openTunnel()
		c.say("all")
		c.closeWrite()
		c.expect("got all")
		c.ended()
	})
	t.Run("by the client, before the 101", func(t *testing.T) {
		half := make(chan struct{})
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			c.Head()
			<-half
			c.Say(switching101)
			b, _ := io.ReadAll(c)
			c.Say("got " + string(b))
		})
		f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.HalfCloseGrace = time.Hour })
		c := f.dial()
		c.say(handshake)
		c.closeWrite()
		f.await("the half-close to be seen", func() bool { return f.anyConn((*clientConn).leftHalfClosed) })
		close(half)
		c.lines()
		c.expect("got ")
		c.ended()
	})
	t.Run("by the slot", func(t *testing.T) {
		got := make(chan string, 1)
		slot := startTunnelSlot(t, func(c *proxytest.Conn) {
			c.Say("bye")
			c.CloseWrite()
			b, _ := io.ReadAll(c)
			got <- string(b)
		})
		c := startFront(t, slot.Addr()).openTunnel()
		c.expect("bye")
		c.ended()
		c.say("still here")
		c.closeWrite()
		if b := <-got; b != "still here" {
			t.Errorf("the slot got %q", b)
		}
	})
}

// golang/go#35892, #75807: a peer that has vanished keeps nothing open.
func TestATunnelInWhichNobodySpeaksEnds(t *testing.T) {
	slot := startTunnelSlot(t, func(c *proxytest.Conn) {
		io.Copy(io.Discard, c) //nolint:errcheck // it ends with the tunnel
	})
	const idle = 100 * time.Millisecond
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.StreamIdleTimeout = idle })
	c := f.openTunnel()
	tick := time.NewTicker(idle / 5)
	defer tick.Stop()
	for range 10 { // one direction that speaks keeps both
		<-tick.C
		c.say("x")
	}
	c.ended()
	if e := f.entry(1); e["cause"] != string(causeStreamIdle) {
		t.Errorf("access log: %v", e)
	}
	if s := f.stats(); s.InFlight != 0 || s.Faults != 0 {
		t.Errorf("in flight %d, faults %d", s.InFlight, s.Faults)
	}
}

func TestABrokenSideEndsTheOther(t *testing.T) {
	t.Run("the slot's", func(t *testing.T) {
		slot := startTunnelSlot(t, func(c *proxytest.Conn) { c.Reset() })
		f := startFront(t, slot.Addr())
		c := f.openTunnel()
		if _, err := c.r.ReadByte(); err == nil {
			t.Error("a byte came")
		}
		if e := f.entry(1); e["cause"] != string(causeReset) {
			t.Errorf("access log: %v", e)
		}
	})
	t.Run("the client's", func(t *testing.T) {
		gone := make(chan struct{})
		slot := startTunnelSlot(t, func(c *proxytest.Conn) {
			c.Gone()
			close(gone)
		})
		f := startFront(t, slot.Addr())
		c := f.openTunnel()
		c.Conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then the close is a plain one and the test fails
		c.Close()
		<-gone
		if e := f.entry(1); e["cause"] != string(causeClientGone) {
			t.Errorf("access log: %v", e)
		}
		if f.stats().Faults != 0 {
			t.Error("it counts against the slot")
		}
	})
}

func TestAnAnswerInsteadOfA101IsAnOrdinaryOne(t *testing.T) {
	for _, status := range []string{"401 Unauthorized", "426 Upgrade Required", "200 OK"} {
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			for c.Head() != "" {
				c.Say("HTTP/1.1 " + status + "\r\nContent-Length: 4\r\nX-Why: because\r\n\r\nbody")
			}
		})
		c := startFront(t, slot.Addr()).dial()
		for range 2 { // on one connection
			c.say(handshake)
			res, body := c.whole("GET")
			if !strings.HasPrefix(status, fmt.Sprint(res.StatusCode)) || body != "body" || res.Header.Get("X-Why") == "" {
				t.Errorf("%s: %s %q", status, res.Status, body)
			}
		}
	}
}

func TestA101ThatNobodyAskedForIsTheSlotsFault(t *testing.T) {
	for name, request := range map[string]string{
		"to an ordinary request": "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"for another protocol":   strings.Replace(handshake, "WebSocket\r\n", "tls/1.2, WEBSOCKET\r\n", 1),
	} {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
				c.Gone()
			})
			f := startFront(t, slot.Addr())
			c := f.dial()
			c.say(request)
			if res, _ := c.whole("GET"); res.StatusCode != 502 || res.Header.Get(errorCauseField) != string(causeProtocol) {
				t.Errorf("%s %v", res.Status, res.Header)
			}
		})
	}
}

func TestOnlyTheServicesProtocolsAreUpgradesAndAllOthersAreOrdinaryRequests(t *testing.T) {
	slot, head := recordHeads(t)
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.Upgrades = []string{"chat"} })
	c := f.dial()
	c.say(handshake)
	if res, _ := c.whole("GET"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
	if h := fields(t, head()); h.Get("Upgrade") != "" || h.Get("Connection") != "" {
		t.Errorf("the slot saw %v", h)
	}
	c.say(strings.Replace(handshake, "WebSocket\r\n", "h2c, Chat\r\n", 1))
	c.whole("GET")
	if h := fields(t, head()); h.Get("Upgrade") != "Chat" || h.Get("Connection") != "Upgrade" {
		t.Errorf("the slot saw %v", h)
	}
}

func TestARequestWithABodyMayUpgrade(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		r := c.Request()
		b, _ := io.ReadAll(r.Body)
		c.Say(switching101 + string(b))
		copyBack(c)
	})
	c := startFront(t, slot.Addr()).dial()
	post := "POST" + strings.TrimPrefix(strings.TrimSuffix(handshake, "\r\n"), "GET")
	c.say(post + "Content-Length: 4\r\n\r\nbodyearly")
	c.lines()
	c.expect("bodyearly")
}

// The stand-in for a connection whose other end does what a test wants.
type brokenDuplex struct {
	io.Reader
	writeErr, closeWriteErr error
	closed                  chan struct{}
}

func (d *brokenDuplex) Read(b []byte) (int, error) {
	if d.Reader != nil {
		return d.Reader.Read(b)
	}
	<-d.closed
	return 0, net.ErrClosed
}
func (d *brokenDuplex) Write(b []byte) (int, error) { return len(b), d.writeErr }
func (d *brokenDuplex) CloseWrite() error           { return d.closeWriteErr }
func (d *brokenDuplex) Close() error                { close(d.closed); return nil }

func (d *brokenDuplex) SetReadDeadline(time.Time) error { return nil }

func TestWhateverBreaksInATunnelEndsBothDirections(t *testing.T) {
	broken := errors.New("broken")
	for _, tt := range []struct {
		name         string
		client, slot brokenDuplex
		want         cause
	}{
		{"the client takes nothing", brokenDuplex{writeErr: syscall.EPIPE}, brokenDuplex{Reader: strings.NewReader("x")}, causeClientGone},
		{"the slot takes nothing", brokenDuplex{Reader: strings.NewReader("x")}, brokenDuplex{writeErr: syscall.ECONNRESET}, causeReset},
		{"the client cannot be half-closed", brokenDuplex{closeWriteErr: broken}, brokenDuplex{Reader: strings.NewReader("")}, causeClientGone},
		{"the slot cannot be half-closed", brokenDuplex{Reader: strings.NewReader("")}, brokenDuplex{closeWriteErr: broken}, causeClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.client.closed, tt.slot.closed = make(chan struct{}), make(chan struct{})
			pool := &bufferPool{}
			pool.New = func() any { return new([copySize]byte) }
			u := &upgraded{ctx: t.Context(), client: &tt.client, slot: &tt.slot, buffers: pool}
			got, err := u.run(nil, nil)
			if got != tt.want || err == nil {
				t.Errorf("%s, %v; want %s", got, err, tt.want)
			}
			<-tt.client.closed
			<-tt.slot.closed
		})
	}
}
