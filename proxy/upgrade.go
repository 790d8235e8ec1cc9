package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// errTunnelEnded is what [forwarder.answered] returns to ReverseProxy after a
// tunnel: there is nothing left to answer.
var errTunnelEnded = errors.New("the tunnel has ended")

var errStreamIdle = errors.New("nothing was said in either direction for too long")

// upgradeOf returns the protocol that the client asks to switch to, in its
// spelling, if it is one of the service's. A request for any other is an
// ordinary one (RFC 9110, section 7.8); h2c above all would let a client talk to
// the slot past us.
func upgradeOf(r *http.Request, allowed []string) string {
	if r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) || !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return ""
	}
	for _, line := range r.Header["Upgrade"] {
		for token := range strings.SplitSeq(line, ",") {
			token = strings.TrimSpace(token)
			if slices.Contains(allowed, strings.ToLower(token)) {
				return token
			}
		}
	}
	return ""
}

// rewriteUpgrade keeps of an upgrade what is allowed. WebSockets over HTTP/2
// (RFC 8441) are not offered, so they do not come.
func (f *forwarder) rewriteUpgrade(x *relay, out *http.Request) {
	token := upgradeOf(x.r, x.claim.service.Upgrades)
	if token == "" {
		delete(out.Header, "Connection")
		delete(out.Header, "Upgrade")
		return
	}
	out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{token}
	webSocketSpelling(out.Header)
}

// duplex is the connection to the slot after its 101.
type duplex interface {
	io.ReadWriteCloser
	CloseWrite() error
	SetReadDeadline(time.Time) error
}

// tunnel joins client and slot after the slot's 101 until both have ended. It
// does so itself, and not ReverseProxy, which loses what the client sent before
// it saw the 101 and passes hop-by-hop fields (golang/go#80875), and waits for
// ever for a peer that has vanished (golang/go#75807).
func (f *forwarder) tunnel(x *relay, res *http.Response) error {
	slot, ok := res.Body.(duplex)
	asked := res.Request.Header.Get("Upgrade")
	got := res.Header.Get("Upgrade")
	switch {
	case !ok:
		return errors.New("the transport gave no tunnel")
	case asked == "" || !strings.EqualFold(asked, got):
		return &slotError{causeProtocol, "upgrading", fmt.Errorf("asked for %q, the slot switched to %q", asked, got)}
	case !x.bodyDone():
		return &slotError{causeProtocol, "upgrading", errors.New("the slot switched before the request was complete")}
	}
	nc, buffered, err := x.control.Hijack()
	if err != nil {
		return fmt.Errorf("taking over the connection: %w", err)
	}
	x.upgrade = got
	x.w.status, x.w.firstByte = res.StatusCode, time.Now()
	u := &upgraded{
		ctx: x.r.Context(), client: takeOver(nc), slot: slot,
		idle: x.claim.service.StreamIdleTimeout, buffers: &f.buffers,
	}
	if strings.EqualFold(got, "websocket") {
		u.goodbye = newGoodbye(x.claim.service.StreamCloseCode)
	}
	x.beginStream(u)
	x.cause, x.err = u.run(switchingHead(res.Header, got), unreadBytes(buffered.Reader))
	x.tunnelIn, x.tunnelOut = u.in.Load(), u.out.Load()
	return errTunnelEnded
}

// switchingHead is the 101 for the client: the slot's own fields, without those
// of the connection that brought them.
func switchingHead(h http.Header, protocol string) []byte {
	dropHopByHop(h)
	h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{protocol}
	webSocketSpelling(h)
	b := bytes.NewBufferString("HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(b) //nolint:errcheck // a buffer takes all
	b.WriteString("\r\n")
	return b.Bytes()
}

// unreadBytes are what the client sent before it could see the 101.
func unreadBytes(r *bufio.Reader) []byte {
	b, _ := r.Peek(r.Buffered()) // what is buffered can be peeked
	return b
}

// takeOver returns a hijacked connection as the tunnel needs it.
func takeOver(nc net.Conn) duplex {
	c, ok := nc.(*clientConn)
	if !ok {
		return plainConn{nc}
	}
	return tunnelClient{c}
}

// tunnelClient is a client's connection whose CloseWrite only closes.
type tunnelClient struct{ *clientConn }

func (c tunnelClient) CloseWrite() error { return c.closeWrite() }

// plainConn is a connection that may not be able to close one direction.
type plainConn struct{ net.Conn }

func (c plainConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Close()
}

// upgraded is a client and a slot that talk in a protocol of their own. Each
// direction ends by itself, and its end is passed on as a half-close; a broken
// connection, idleness or the request's context ends both.
type upgraded struct {
	client, slot duplex
	ctx          context.Context // ends when the proxy stops
	idle         time.Duration   // without a byte in either direction; 0 means no bound
	buffers      *bufferPool
	goodbye      *goodbye // nil unless it is a WebSocket

	in, out atomic.Int64 // bytes from and to the client
	last    atomic.Int64 // when the last of them passed, in Unix nanoseconds

	mu    sync.Mutex
	ended bool
	timer *time.Timer
	cause cause
	err   error
}

// run copies until both directions have ended, and returns why if that was
// before its time. It returns with both connections closed and no goroutine
// left.
func (u *upgraded) run(head, early []byte) (cause, error) {
	stop := context.AfterFunc(u.ctx, func() { u.cut("", nil) })
	defer stop()
	u.watchIdle()
	if _, err := u.client.Write(head); err != nil {
		u.clientFailed(err)
	}
	var slotDone sync.WaitGroup
	slotDone.Go(func() {
		u.copy(direction{u.client, u.slot, &u.out, u.clientFailed, u.slotFailed, u.goodbye.fromSlot(), u.endToClient})
	})
	fromClient := io.MultiReader(bytes.NewReader(early), u.client)
	u.copy(direction{u.slot, fromClient, &u.in, u.slotFailed, u.clientFailed, u.goodbye.fromClient(), u.endToSlot})
	slotDone.Wait()
	u.cut("", nil)
	return u.cause, u.err
}

// direction is one half of a tunnel.
type direction struct {
	dst                  duplex
	src                  io.Reader
	count                *atomic.Int64
	dstFailed, srcFailed func(error)

	frames *frames // nil unless it is a WebSocket's
	// end takes over once the stream was asked to end. It gets what was read and
	// reports whether the direction is at its end.
	end func(d *direction, b []byte, err error) bool
}

func (u *upgraded) copy(d direction) {
	b := u.buffers.Get()
	defer u.buffers.Put(b)
	for {
		n, err := d.src.Read(b)
		u.touch()
		if u.goodbye.isAsked() {
			if d.end(&d, b[:n], err) {
				return
			}
			continue
		}
		if d.frames != nil {
			d.frames.scan(b[:n])
		}
		if !u.pass(&d, b[:n]) {
			return
		}
		switch {
		case err == io.EOF:
			if err := d.dst.CloseWrite(); err != nil {
				d.dstFailed(err)
			}
			return
		case err != nil:
			d.srcFailed(err)
			return
		}
	}
}

// pass writes what was read, and reports whether that went well.
func (u *upgraded) pass(d *direction, b []byte) bool {
	if len(b) == 0 {
		return true
	}
	d.count.Add(int64(len(b)))
	if _, err := d.dst.Write(b); err != nil {
		d.dstFailed(err)
		return false
	}
	u.touch()
	return true
}

func (u *upgraded) clientFailed(err error) { u.cut(causeClientGone, err) }

func (u *upgraded) slotFailed(err error) {
	fault := ioError("passing on an upgraded connection", causeStalled, err)
	u.cut(fault.cause, fault)
}

// cut closes both sides. The first to call it says why, unless the proxy stops:
// then the transport has closed the slot's side too.
func (u *upgraded) cut(c cause, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return
	}
	u.ended, u.cause, u.err = true, c, err
	if u.ctx.Err() != nil {
		u.cause, u.err = causeShuttingDown, context.Cause(u.ctx)
	}
	if u.timer != nil {
		u.timer.Stop()
	}
	u.client.Close() //nolint:errcheck // both are to end, however
	u.slot.Close()   //nolint:errcheck // both are to end, however
}

func (u *upgraded) touch() { u.last.Store(time.Now().UnixNano()) }

func (u *upgraded) watchIdle() {
	if u.idle <= 0 {
		return
	}
	u.touch()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.timer = time.AfterFunc(u.idle, u.checkIdle)
}

// checkIdle ends a tunnel that was silent for too long, or looks again when it
// could be. Bytes that pass only note their time, which is cheaper than moving a
// timer.
func (u *upgraded) checkIdle() {
	left := u.idle - time.Since(time.Unix(0, u.last.Load()))
	if left <= 0 {
		u.cut(causeStreamIdle, errStreamIdle)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.ended {
		u.timer.Reset(left)
	}
}
