package drive_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/bench/drive"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func fine(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }

// An answer that is late keeps later requests from being sent; they must be
// charged for the wait, though each is answered at once when it is sent at last.
func TestRequestsThatHadToWaitAreCountedFromWhenTheyWereDue(t *testing.T) {
	const hold = 200 * time.Millisecond
	var first sync.Once
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { time.Sleep(hold) })
		fine(w, r)
	})
	got, err := drive.Paced{Addr: addr, Path: "/", Connections: 1, Rate: 1000, Time: hold}.Run(t.Context())
	if err != nil || got.Err() != nil {
		t.Fatal(err, got.Err())
	}
	if got.Sent != 200 {
		t.Errorf("%d requests were answered, want all of the 200 that were due", got.Sent)
	}
	// Half of them were due in the first half of the hold.
	if got.P50 < hold/2-10*time.Millisecond || got.Max < hold {
		t.Errorf("p50 %s and max %s hide a wait of %s", got.P50, got.Max, hold)
	}
}

func TestEveryBadAnswerIsCounted(t *testing.T) {
	tests := map[string]struct {
		answer string
		fault  string
	}{
		"a bad status":                    {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", `answered "HTTP/1.1 503 Service Unavailable"`},
		"no length":                       {"HTTP/1.1 200 OK\r\n\r\n", "answered without a Content-Length"},
		"a length that is none":           {"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", `answered "Content-Length: many"`},
		"a body that is too short":        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour", "reading a body: EOF"},
		"an end of the connection":        {"", "reading a head: EOF"},
		"a connection that is to be shut": {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", `answered "Connection: close"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				io.WriteString(conn, test.answer)
				conn.Close()
			})
			got, err := drive.Paced{Addr: addr, Path: "/", Connections: 2, Rate: 1000, Time: 10 * time.Millisecond}.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.Failed != 10 || got.Sent != 0 || got.Fault != test.fault {
				t.Errorf("%d failed (%q) and %d did not, want 10 (%q) and none", got.Failed, got.Fault, got.Sent, test.fault)
			}
		})
	}
}

func TestAnAddressThatNobodyListensOnIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := (drive.Paced{Addr: l.Addr().String(), Connections: 1, Rate: 10, Time: time.Second}).Run(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestMessagesComeBack(t *testing.T) {
	addr := serve(t, drive.Echo{}.ServeHTTP)
	got, err := drive.WebSocket{Addr: addr, Path: "/", Connections: 3, Time: 50 * time.Millisecond}.Run(t.Context())
	if err != nil || got.Err() != nil {
		t.Fatal(err, got.Err())
	}
	if got.Sent < 3 {
		t.Errorf("%d messages came back on 3 connections", got.Sent)
	}
}

func TestAnEchoThatDiffersIsCounted(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+strings.Repeat("?", 66))
		io.Copy(io.Discard, conn)
	})
	got, err := drive.WebSocket{Addr: addr, Path: "/", Connections: 1, Time: 50 * time.Millisecond}.Run(t.Context())
	if err != nil || got.Failed != 1 {
		t.Errorf("%d failed, want 1: %v", got.Failed, err)
	}
}

func TestAHandshakeThatIsRefusedIsAnError(t *testing.T) {
	addr := serve(t, fine)
	_, err := drive.WebSocket{Addr: addr, Path: "/", Connections: 1, Time: time.Second}.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "answered 200 OK") {
		t.Errorf("error %v", err)
	}
}

func TestIdleConnectionsAreLookedAtBeforeTheyGo(t *testing.T) {
	for name, closed := range map[string]bool{"open": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(fine))
			defer server.Close()
			leave := make(chan struct{})
			opened := func() {
				if closed {
					server.CloseClientConnections()
				}
				close(leave)
			}
			idle := drive.Idle{Addr: server.Listener.Addr().String(), Path: "/", Connections: 100}
			got, err := idle.Run(t.Context(), opened, leave)
			if err != nil {
				t.Fatal(err)
			}
			if got.Sent != 100 || closed != (got.Failed == 100) || !closed && got.Failed > 0 {
				t.Errorf("%d of 100 requests were answered, %d connections failed: %s", got.Sent, got.Failed, got.Fault)
			}
		})
	}
}

func TestALoadEndsWithItsContext(t *testing.T) {
	addr := serve(t, fine)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (drive.Paced{Addr: addr, Connections: 1, Rate: 10, Time: time.Hour}).Run(ctx); err == nil {
		t.Error("no error")
	}
}
