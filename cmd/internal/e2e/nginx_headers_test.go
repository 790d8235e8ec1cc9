package e2e

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// echoed is what the sample app says of a request.
type echoed struct {
	Connection int
	IP         string
	Protocol   string
	RawHeaders []string
}

// fields are the header fields as they came, but for those that are between
// two neighbours only.
func (e echoed) fields() []string {
	var fields []string
	for i := 0; i < len(e.RawHeaders); i += 2 {
		switch field := strings.ToLower(e.RawHeaders[i]) + ": " + e.RawHeaders[i+1]; field {
		case "connection: upgrade", "connection: keep-alive":
		default:
			fields = append(fields, field)
		}
	}
	slices.Sort(fields)
	return fields
}

// TestTheSlotSeesWhatNginxSaid puts us between nginx and a slot, and compares
// with what the slot sees when we are not there.
func TestTheSlotSeesWhatNginxSaid(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr)
	ask := func(addr string) echoed {
		s := site{T: t, base: addr}
		_, body := s.do("POST", "/api/v1/echo", `{"a":1}`, "Content-Type", "application/json",
			"X-Forwarded-For", "203.0.113.9", "X-Real-IP", "203.0.113.10", "Cookie", "a=b; c=d", "X-Request-Id", "r1")
		var e echoed
		s.decode(body, &e)
		return e
	}
	with, without := ask(startNginx(t, d.addr).site.Listen), ask(startNginx(t, blue.addr).site.Listen)
	if diff := cmp.Diff(without.fields(), with.fields()); diff != "" {
		t.Errorf("header fields (-nginx alone +with us):\n%s", diff)
	}
	if with.IP != without.IP || with.Protocol != without.Protocol {
		t.Errorf("Express takes the client for %s by %s, without us for %s by %s", with.IP, with.Protocol, without.IP, without.Protocol)
	}
}

// TestConnectionsAreReusedAlthoughNginxSaysUpgrade counts connections on both
// sides of us.
func TestConnectionsAreReusedAlthoughNginxSaysUpgrade(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr)
	counting := startRelay(t, d.addr)
	s := site{T: t, base: startNginx(t, counting.addr).site.Listen}
	slotConnections := map[int]bool{}
	const requests = 100
	for range requests {
		_, body := s.do("POST", "/api/v1/echo", `{}`, "Content-Type", "application/json")
		var e echoed
		s.decode(body, &e)
		slotConnections[e.Connection] = true
	}
	// nginx has two workers, each with a pool of its own.
	if got := counting.connections.Load(); got > 2 {
		t.Errorf("nginx opened %d connections to us for %d requests", got, requests)
	}
	if got := len(slotConnections); got > 2 {
		t.Errorf("we opened %d connections to the slot for %d requests", got, requests)
	}
}

// relay passes bytes on and counts connections.
type relay struct {
	addr        string
	connections atomic.Int64
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			r.connections.Add(1)
			wg.Go(func() { pass(t, in, to) })
		}
	})
	// Registered first, so it runs when both neighbours have gone.
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return r
}

// pass ends when either side does.
func pass(t *testing.T, in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer out.Close()
	var wg sync.WaitGroup
	copyAll := func(dst, src net.Conn) {
		// That one side went is how every connection ends.
		_, _ = io.Copy(dst, src)
		dst.Close()
		src.Close()
	}
	wg.Go(func() { copyAll(out, in) })
	wg.Go(func() { copyAll(in, out) })
	wg.Wait()
}
