package proxy

import (
	"net"
	"net/http"
	"syscall"
	"testing"

	"charactier-proxy/proxy/proxytest"
)

func TestOneAddressHasOnlySoManyConnections(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.server.MaxConnsPerAddr = 2 })
	first, second := f.dial(), f.dial()
	first.get("/")
	second.get("/")
	f.dial().ended()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	other, err := dialer.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if n, err := other.Read(make([]byte, 1)); n != 1 {
		t.Errorf("another address: %v", err)
	}
	first.Close()
	f.await("a place to be free", func() bool {
		c := f.dial()
		defer c.Close()
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			return false
		}
		_, err := c.r.ReadByte()
		return err == nil
	})
}

// A listener that is flooded takes up none of what another one needs.
func TestAFloodOfOneListenerLeavesTheOtherItsConnections(t *testing.T) {
	slot, _ := recordHeads(t)
	room := NewRoom(16)
	flooded := startFront(t, slot.Addr(), func(o *frontOptions) { o.server.Room = room })
	quiet := startFront(t, slot.Addr(), func(o *frontOptions) { o.server.Room = room })
	for range 30 {
		flooded.dial().say("GET / HTTP/1.1\r\nHost:")
	}
	flooded.await("accepting to pause", flooded.server.Saturated)
	for range 3 { // a fourth is its own too, the next to come
		quiet.dial().get("/")
	}
	if quiet.server.Saturated() {
		t.Error("the other listener waits")
	}
}

// What we lack is no fault of the slot: nobody is told that it cannot be
// connected to, and the client may come again.
func TestALackOfConnectionsIsNotTheSlotsFault(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		<-t.Context().Done()
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) {
		o.slots = NewRoom(1)
		o.onFault = func(string, string, error) { t.Error("the slot is blamed") }
	})
	first := f.dial()
	first.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.await("the first to have a connection", func() bool { return slot.Accepted() == 1 })
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		c := f.dial()
		c.say(request)
		res, _ := c.whole("GET")
		if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get(errorCauseField) != string(causeNoRoom) || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s %v", res.Status, res.Header)
		}
	}
	if s := f.stats(); s.Faults != 0 || s.Errors != 0 {
		t.Errorf("it counts against the slot: %+v", s)
	}
	first.reset()
	f.await("its place to be given back", func() bool {
		share := f.proxy.table.Load().routes["backend"].target.transport.(*transport).share
		share.room.mu.Lock()
		defer share.room.mu.Unlock()
		return share.used == 0
	})
}

// reset ends the connection at once.
func (c *rawClient) reset() {
	c.t.Helper()
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		c.t.Fatal(err)
	}
	c.Close() //nolint:errcheck // there is nothing to lose
}

func TestWhatWeLackIsToldFromWhatTheSlotLacks(t *testing.T) {
	for err, want := range map[error]cause{
		syscall.EMFILE: causeNoRoom, syscall.ENFILE: causeNoRoom, syscall.EADDRNOTAVAIL: causeNoRoom, errNoRoom: causeNoRoom,
		syscall.ECONNREFUSED: causeConnectRefused, syscall.EHOSTUNREACH: causeConnectFailed,
	} {
		if got := connectError("a", &net.OpError{Op: "dial", Err: err}).cause; got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
