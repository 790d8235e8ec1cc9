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
// lock out the one who has to repair things; and no other user can take all the
// places of the others.
type gate struct {
	net.Listener
	access access

	farewells sync.WaitGroup // with those who are turned away
	places    chan struct{}  // for farewells

	mu     sync.Mutex
	admins int
	others int
	byUser map[uint32]int // of the others; those that we do not know are not in it
}

func newGate(ln net.Listener, a access) *gate {
	return &gate{Listener: ln, access: a, places: make(chan struct{}, maxFarewells), byUser: map[uint32]int{}}
}

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
		if leave := g.enter(p); leave != nil {
			return &gateConn{Conn: c, peer: p, leave: leave}, nil
		}
		g.turnAway(c)
	}
}

// enter takes a place and returns what gives it back; nil if there is none.
func (g *gate) enter(p peer) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	count, limit := &g.others, maxPeerConns
	root := p.known && (p.uid == 0 || p.uid == g.access.own)
	if root {
		count, limit = &g.admins, maxAdminConns
	}
	if *count >= limit || !root && p.known && g.byUser[p.uid] >= maxUserConns {
		return nil
	}
	*count++
	if root || !p.known {
		return sync.OnceFunc(func() { g.leave(count) })
	}
	g.byUser[p.uid]++
	return sync.OnceFunc(func() { g.leaveUser(p.uid) })
}

func (g *gate) leave(count *int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	*count--
}

func (g *gate) leaveUser(uid uint32) {
	g.leave(&g.others)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byUser[uid]--; g.byUser[uid] <= 0 {
		delete(g.byUser, uid)
	}
}

// turnAway must not wait: it runs on the accepting goroutine. When even those
// who are turned away are too many, the rest get no answer.
func (g *gate) turnAway(c net.Conn) {
	select {
	case g.places <- struct{}{}:
	default:
		_ = c.Close() // nothing was sent on it
		return
	}
	g.farewells.Go(func() {
		defer func() { <-g.places }()
		sayFull(c)
	})
}

const (
	maxFarewells = 16
	farewellTime = time.Second
)

// sayFull answers and closes. An answer before the request would be taken for
// a stray one, and closing with bytes unread would take the answer away again
// (unix(7): ECONNRESET): so it waits for the first and reads the rest. Errors
// are of a peer who has left.
func sayFull(c net.Conn) {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(farewellTime)) != nil {
		return
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		return
	}
	status, e := failureOf(ErrOverloaded).status, AsError(ErrOverloaded, switcher.Record{})
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"+
		`{"code":%q,"message":%q}`+"\n", status, http.StatusText(status), e.Code, e.Message)
	if half, ok := c.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c, maxHeadBytes+maxBody))
	}
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
