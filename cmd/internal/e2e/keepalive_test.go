package e2e

import (
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
)

// TestSoakNodeMayCloseIdleConnections lets Node close idle connections after
// one second while clients think for about one second: a proxy that used one
// just then would answer 502 to a POST. 64 clients direct, 64 through nginx.
func TestSoakNodeMayCloseIdleConnections(t *testing.T) {
	requests := size(t, "SOAK_IDLE_REQUESTS", 2_560, 50_000)
	oneSecond := "KEEP_ALIVE_TIMEOUT_MS=1000"
	blue, green := startSlot(t, "blue", oneSecond), startSlot(t, "green", oneSecond)
	d := startDaemon(t, blue.addr, green.addr)
	for _, at := range []site{{base: d.addr}, {base: startNginx(t, d.addr).site.Listen, nginx: true}} {
		t.Run(at.name(), func(t *testing.T) {
			t.Parallel()
			r := load.New(load.Options{
				Addr: at.base, Host: "example.com", Clients: 256, Requests: requests, Think: time.Second,
			}).Run(t.Context())
			t.Log(r.Summary())
			if r.Failed > 0 || r.Sent != requests {
				t.Errorf("sent %d of %d\n%s", r.Sent, requests, r)
			}
			if twice, lost := judge(orders(t, r.Run, blue, green), r); twice+lost > 0 {
				t.Errorf("%d executed twice, %d lost", twice, lost)
			}
		})
	}
}
