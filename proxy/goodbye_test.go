package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"github.com/coder/websocket"
)

// toldRestart is the Close that a client gets, toldGoing the one of a slot.
var (
	toldRestart = string(appendClose(nil, false, closeRestart, closeReason))
	toldGoing   = string(appendClose(nil, true, closeGoing, ""))
)

func text(masked bool, s string) string { return string(frameOf(0x81, masked, s)) }

// Both ends are told, what the slot says before it answers reaches the client, and
// neither is waited for when it has answered.
func TestAWebSocketEndsWithAClose(t *testing.T) {
	for name, tt := range map[string]struct{ said, more, want string }{
		"that is silent":               {"", "", ""},
		"that is in a frame":           {text(false, "begun")[:4], text(false, "begun")[4:], text(false, "begun")},
		"between two fragments":        {string(frameOf(0x01, false, "one")), string(frameOf(0x80, false, "two")), string(frameOf(0x01, false, "one")) + string(frameOf(0x80, false, "two"))},
		"with more that is on its way": {text(false, "a"), text(false, "b") + string(frameOf(0xc2, false, strings.Repeat("z", 70_000))), text(false, "a") + text(false, "b") + string(frameOf(0xc2, false, strings.Repeat("z", 70_000)))},
	} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan string, 1)
			slot := startTunnelSlot(t, func(c *proxytest.Conn) {
				c.Say(tt.said)
				b := make([]byte, len(toldGoing))
				io.ReadFull(c, b) //nolint:errcheck // what it heard tells
				heard <- string(b)
				c.Say(tt.more + string(appendClose(nil, false, closeGoing, "")))
				c.Gone()
			})
			f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
			c := f.openTunnel()
			counted := f.endStreams()
			c.expect(tt.want + toldRestart)
			c.say(string(appendClose(nil, true, closeRestart, "")))
			c.ended()
			if got := <-heard; got != toldGoing {
				t.Errorf("the slot heard %x", got)
			}
			f.wantCount(counted, StreamCount{Ended: 1})
			if e := f.entry(1); e["cause"] != nil || e["status"] != int64(101) {
				t.Errorf("access log: %v", e)
			}
		})
	}
}

// What the client says before it is told reaches the slot, up to the end of a
// frame.
func TestAFrameOfTheClientIsEndedBeforeTheSlotIsTold(t *testing.T) {
	whole := text(true, "a message")
	heard := make(chan string, 1)
	slot := startTunnelSlot(t, func(c *proxytest.Conn) {
		b := make([]byte, len(whole)+len(toldGoing))
		io.ReadFull(c, b) //nolint:errcheck // what it heard tells
		heard <- string(b)
		c.Say(string(appendClose(nil, false, closeGoing, "")))
		c.Gone()
	})
	f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
	c := f.openTunnel()
	c.say(whole[:7])
	f.await("the first bytes to pass", func() bool { return unsent(t, c.Conn) == 0 })
	counted := f.endStreams()
	f.asked()
	c.say(whole[7:])
	if got := <-heard; got != whole+toldGoing {
		t.Errorf("the slot heard %x", got)
	}
	c.expect(toldRestart)
	c.Close()
	f.wantCount(counted, StreamCount{Ended: 1})
}

// An end that does not answer is waited for a moment only.
func TestAnEndOfAWebSocketThatDoesNotAnswerIsNotWaitedForLong(t *testing.T) {
	slot := startTunnelSlot(t, func(c *proxytest.Conn) { io.Copy(io.Discard, c) }) //nolint:errcheck // until it is closed
	f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
	c := f.openTunnel()
	counted := f.endStreams()
	c.expect(toldRestart)
	f.wantCount(counted, StreamCount{Ended: 1})
	c.ended()
}

// A slot that breaks off all the same is covered for.
func TestAWebSocketWhoseSlotEndsMeanwhileEndsWithAClose(t *testing.T) {
	slot := startTunnelSlot(t, func(c *proxytest.Conn) {
		c.Say(text(false, "last"))
		io.ReadFull(c, make([]byte, len(toldGoing))) //nolint:errcheck // it goes anyway
	})
	f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
	c := f.openTunnel()
	counted := f.endStreams()
	c.expect(text(false, "last") + toldRestart)
	c.ended()
	f.wantCount(counted, StreamCount{Ended: 1})
}

// Where one of the two is saying Close already, nobody says it twice.
func TestAWebSocketThatEndsByItselfIsNotToldAgain(t *testing.T) {
	byClient := string(appendClose(nil, true, 4001, "mine"))
	bySlot := string(appendClose(nil, false, 4002, "too"))
	heard := make(chan string, 1)
	slot := startTunnelSlot(t, func(c *proxytest.Conn) {
		c.Say(bySlot)
		b, _ := io.ReadAll(c)
		heard <- string(b)
	})
	f := startFront(t, slot.Addr(), streamsEndIn(time.Hour))
	c := f.openTunnel()
	c.expect(bySlot)
	c.say(byClient)
	f.await("it to pass", func() bool { return f.proxyPassed(len(byClient)) })
	counted := f.endStreams()
	c.ended()
	if got := <-heard; got != byClient {
		t.Errorf("the slot heard %x", got)
	}
	f.wantCount(counted, StreamCount{Ended: 1})
}

// proxyPassed reports whether so many bytes went from the only tunnel's client to
// its slot.
func (f *front) proxyPassed(n int) bool {
	for _, s := range f.openStreams() {
		if u, ok := s.(*upgraded); ok && u.in.Load() >= int64(n) {
			return true
		}
	}
	return false
}

// What makes no sense as a WebSocket, or is another protocol, is let be and cut
// when its time is over.
func TestAnUpgradeThatIsNoWebSocketIsCut(t *testing.T) {
	other := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\r\n"
	for name, tt := range map[string]struct{ ask, head, said string }{
		"nonsense":         {handshake, switching101, "no frame at all"},
		"an endless frame": {handshake, switching101, "\x82\x7e\xff\xffbegun"},
		"another protocol": {strings.Replace(handshake, "WebSocket", "chat", 1), other, text(false, "as if")},
	} {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say(tt.head + tt.said)
				io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
			})
			f := startFront(t, slot.Addr(), streamsEndIn(50*time.Millisecond), func(o *frontOptions) {
				o.service.Upgrades = []string{"websocket", "chat"}
			})
			c := f.dial()
			c.say(tt.ask)
			c.lines()
			c.expect(tt.said)
			counted := f.endStreams()
			c.ended()
			f.wantCount(counted, StreamCount{Cut: 1})
			if e := f.entry(1); e["cause"] != string(causeStreamCut) {
				t.Errorf("access log: %v", e)
			}
		})
	}
}

// With real ends, compressed or not: the client learns the code and reads all that
// was said, the slot reads all that it was sent.
func TestAWebSocketLibraryIsToldToComeBack(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
		ended := make(chan error, 1)
		slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: mode})
			if err != nil {
				return
			}
			for err == nil {
				var kind websocket.MessageType
				var b []byte
				if kind, b, err = c.Read(context.Background()); err == nil {
					err = c.Write(context.Background(), kind, b)
				}
			}
			ended <- err
		})
		f := startFront(t, slot, streamsEndIn(time.Hour), func(o *frontOptions) { o.service.StreamCloseCode = 1001 })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		c, _, err := websocket.Dial(ctx, "ws://"+f.addr, &websocket.DialOptions{HTTPClient: newClient(t, false), CompressionMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		said := []byte(strings.Repeat("word ", 1000))
		if err := c.Write(ctx, websocket.MessageText, said); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(ctx); err != nil || string(b) != string(said) {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		counted := f.endStreams()
		var told websocket.CloseError
		if _, _, err := c.Read(ctx); !errors.As(err, &told) || told.Code != 1001 || told.Reason != closeReason {
			t.Errorf("the client was told %v", err)
		}
		if err := <-ended; websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("the slot was told %v", err)
		}
		f.wantCount(counted, StreamCount{Ended: 1})
	}
}
