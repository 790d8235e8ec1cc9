package control

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"charactier-proxy/switcher"
)

// peerKey finds the peer in a request's context.
type peerKey struct{}

// connContext hands the peer of a connection to its requests.
func connContext(ctx context.Context, c net.Conn) context.Context {
	if gc, ok := c.(*gateConn); ok {
		return context.WithValue(ctx, peerKey{}, gc.peer)
	}
	return ctx
}

// gate accepts connections, learns who is there, and bounds how many there are.
// Root and the daemon's own user have a share of their own, so that nobody can
// lock out the one who has to repair things.
type gate struct {
	net.Listener
	access access

	mu     sync.Mutex
	admins int
	others int
}

func newGate(ln net.Listener, a access) *gate { return &gate{Listener: ln, access: a} }

// Accept turns away, with an answer, those for whom there is no room.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := readPeer(c)
		if err != nil {
			p = peer{}
		}
		if count := g.enter(p); count != nil {
			return &gateConn{Conn: c, peer: p, leave: sync.OnceFunc(func() { g.leave(count) })}, nil
		}
		turnAway(c)
	}
}

// enter takes a place, and returns nil if there is none.
func (g *gate) enter(p peer) (count *int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	count, limit := &g.others, maxPeerConns
	if p.known && (p.uid == 0 || p.uid == g.access.own) {
		count, limit = &g.admins, maxAdminConns
	}
	if *count >= limit {
		return nil
	}
	*count++
	return count
}

func (g *gate) leave(count *int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*count--
}

// turnAway must not wait: it runs on the accepting goroutine. The answer fits
// into any socket buffer.
func turnAway(c net.Conn) {
	status, e := failureOf(ErrOverloaded).status, AsError(ErrOverloaded, switcher.Record{})
	answer := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"+
		`{"code":%q,"message":%q}`+"\n", status, http.StatusText(status), e.Code, e.Message)
	if c.SetWriteDeadline(time.Now().Add(100*time.Millisecond)) == nil {
		_, _ = io.WriteString(c, answer) // else the peer sees a closed connection
	}
	_ = c.Close()
}

// gateConn is a connection that gives back its place when closed.
type gateConn struct {
	net.Conn
	peer  peer
	leave func()
}

func (c *gateConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
