package proxy

import (
	"io"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// A slot that fails while its client is still sending: the client is owed an
// answer, and it is the slot's doing.
func TestASlotThatFailsDuringAnUploadIsAnsweredFor(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*proxytest.Conn)
		want []cause
	}{
		"closes": {func(*proxytest.Conn) {}, []cause{causeClosed, causeReset}},
		"resets": {(*proxytest.Conn).Reset, []cause{causeReset}},
		"talks nonsense": {func(c *proxytest.Conn) {
			c.Say("SSH-2.0\r\n\r\n")
			io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
		}, []cause{causeProtocol}},
		"switches": {func(c *proxytest.Conn) {
			c.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
		}, []cause{causeProtocol}},
	} {
		for _, framing := range []string{"Content-Length: 100000\r\n\r\nhe", "Content-Length: 1000000\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"} {
			t.Run(name+", "+framing[:20], func(t *testing.T) {
				slot := proxytest.Start(t, func(c *proxytest.Conn) {
					c.Head()
					io.ReadFull(c, make([]byte, 2)) //nolint:errcheck // the body has begun
					tt.end(c)
				})
				f := startFront(t, slot.Addr())
				c := f.dial()
				c.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // the read tells
				c.say("POST / HTTP/1.1\r\nHost: a\r\n" + framing)
				head, err := io.ReadAll(c.r)
				e := f.entry(1)
				got, _ := e["cause"].(string)
				ok := false
				for _, want := range tt.want {
					ok = ok || got == string(want)
				}
				if !ok || e["status"] != int64(502) || f.stats().Faults != 1 || len(head) == 0 {
					t.Errorf("the client got %.30q, %v; the log says %v %v, %d faults", head, err, got, e["status"], f.stats().Faults)
				}
			})
		}
	}
}
