package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"

	"github.com/coder/websocket"
)

// TestStreamsOutliveASwitch keeps an event stream and a WebSocket open over a
// switch, directly and through nginx: they stay where they are (P1), while
// every new request goes to the new slot.
func TestStreamsOutliveASwitch(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr, "drain_timeout: 100ms")
	n := startNginx(t, d.addr)

	for _, at := range []site{{base: d.addr}, {base: n.site.Listen, nginx: true}} {
		t.Run(at.name(), func(t *testing.T) {
			at.T = t
			old := d.status().Active
			events := at.stream("/api/v1/events?interval=20")
			socket := at.dialWebSocket()
			events.next()

			if out, problems, code := d.ctl("switch"); code != control.ExitDone || !strings.Contains(out+problems, "2 streams") {
				t.Errorf("switch: exit %d, want word of 2 open streams: %s%s", code, out, problems)
			}
			if _, body := at.get("/api/v1/echo"); !strings.Contains(string(body), string(old.Other())) {
				t.Errorf("a new request was answered by the old slot: %s", body)
			}
			if s := d.slots()[old]; s.Streams != 2 || !s.Draining {
				t.Errorf("the old slot has %d streams, draining %t", s.Streams, s.Draining)
			}
			for range 5 {
				if event := strings.Join(events.next(), " "); !strings.Contains(event, string(old)) {
					t.Fatalf("the stream goes on with %s", event)
				}
			}
			at.wantEcho(socket, "still here")

			socket.CloseNow()
			events.close()
			eventually(t, "the old slot is drained", func() error {
				if s := d.slots()[old]; s.Streams > 0 || s.Draining {
					return fmt.Errorf("%d streams, draining %t", s.Streams, s.Draining)
				}
				return nil
			})
		})
	}
}

func (s site) dialWebSocket() *websocket.Conn {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+s.base+"/ws", nil)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.CloseNow() })
	s.wantEcho(conn, "hello")
	return conn
}

func (s site) wantEcho(conn *websocket.Conn, message string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		s.Fatal(err)
	}
	if _, got, err := conn.Read(ctx); err != nil || string(got) != message {
		s.Fatalf("echo of %q: %q, %v", message, got, err)
	}
}

// TestAHeldSlotMayRestart is what "systemctl restart" of the live slot costs
// when requests are held meanwhile: time, and not one request.
func TestAHeldSlotMayRestart(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr, "hold: {time: 60s}")
	stop := underLoad(t, d.addr, 32)

	if _, problems, code := d.ctl("hold", "--yes", "--reason", "restart"); code != control.ExitDone {
		t.Fatalf("hold: exit %d: %s", code, problems)
	}
	eventually(t, "every client waits, and nothing is in flight", func() error {
		s := d.status()
		if flying := d.slots()[switcher.Blue].InFlight; s.Waiting < 32 || flying > 0 {
			return fmt.Errorf("%d wait, %d in flight", s.Waiting, flying)
		}
		return nil
	})
	if state := blue.stop(patience); state.ExitCode() != 0 {
		t.Errorf("the slot ended with %s", state)
	}
	blue.start()
	d.awaitHealth(switcher.Blue, "healthy")
	if _, problems, code := d.ctl("release-hold"); code != control.ExitDone {
		t.Fatalf("release-hold: exit %d: %s", code, problems)
	}
	eventually(t, "nobody waits any more", func() error {
		if s := d.status(); s.Waiting > 0 || s.Held != nil {
			return errors.New("somebody does")
		}
		return nil
	})

	r := stop()
	if twice, lost := judge(orders(t, r.Run, blue, green), r); r.Failed > 0 || twice+lost > 0 {
		t.Errorf("%d executed twice, %d answered but not executed\n%s", twice, lost, r)
	}
}
