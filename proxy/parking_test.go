package proxy

import (
	"net"
	"testing"
	"time"
)

// startParking runs a parking until the test ends; what wakes up comes by woken.
func startParking(t *testing.T) (p *parking, woken chan *clientConn) {
	t.Helper()
	woken = make(chan *clientConn, 100)
	p, err := newParking(func(c *clientConn) { woken <- c })
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); p.run() }()
	t.Cleanup(func() { p.end(); <-done })
	return p, woken
}

// connect returns both ends of a connection, one as a server has it.
func connect(t *testing.T, p *parking) (*clientConn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := newServing(NewServer(ServerOptions{}), ln)
	server.parking = p
	c := newClientConn(nc, server)
	t.Cleanup(func() { client.Close(); c.Close() })
	return c, client
}

func TestConnectionsThatComeAndGoLeaveNothingInTheParking(t *testing.T) {
	p, woken := startParking(t)
	c, client := connect(t, p)
	for range 3 * queueSlack {
		if err := p.park(c, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		client.Write([]byte{0}) //nolint:errcheck // the read tells
		<-woken
		if _, err := c.Conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.places) != 0 || len(p.queue) > queueSlack+1 {
		t.Errorf("%d places, %d in the queue", len(p.places), len(p.queue))
	}
}
