package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// afterFailure is the pause that keeps clients from spinning on a dead address.
const afterFailure = 10 * time.Millisecond

// client is one keep-alive connection and its owner.
type client struct {
	g      *Generator
	number int
	serial int

	conn   net.Conn
	reader *bufio.Reader
	served int // requests answered on conn

	out   []byte // the request being written
	body  []byte // of the last answer
	tally *tally
}

func newClient(g *Generator, number int) *client {
	return &client{g: g, number: number, tally: newTally()}
}

// run sends one request after the other.
func (c *client) run(ctx context.Context) {
	defer c.close()
	for c.g.next(ctx) {
		if c.one(ctx) {
			pause(ctx, c.thinkingTime())
		} else {
			pause(ctx, afterFailure)
		}
	}
}

// one sends one request, counts what came of it and says whether it was good.
func (c *client) one(ctx context.Context) bool {
	a := c.newRequest()
	deadline := a.Started.Add(c.g.opts.Timeout)
	if err := c.ready(ctx, deadline); err != nil {
		return c.fail(a, err)
	}
	a.Started = time.Now()
	reused := c.served > 0
	keep, err := c.exchange(&a)
	a.Ended = time.Now()
	if err == nil && c.g.opts.Check != nil {
		err = kinded(WrongAnswer, c.g.opts.Check(a))
	}
	if err != nil {
		return c.fail(a, err)
	}
	c.tally.good(a, reused)
	c.served++
	if !keep {
		c.close()
	}
	return true
}

// newRequest writes the next request into c.out.
func (c *client) newRequest() Answer {
	c.serial++
	o := &c.g.opts
	a := Answer{
		ID:      c.g.run + "-" + strconv.Itoa(c.number) + "-" + strconv.Itoa(c.serial),
		Method:  http.MethodPost,
		Started: time.Now(),
	}
	if o.GetEvery > 0 && c.serial%o.GetEvery == 0 {
		a.Method = http.MethodGet
		c.out = fmt.Appendf(c.out[:0], "GET %s HTTP/1.1\r\nHost: %s\r\nX-Request-Id: %s\r\n\r\n", o.GetPath, o.Host, a.ID)
		return a
	}
	body := `{"id":"` + a.ID + `"}`
	c.out = fmt.Appendf(c.out[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nX-Request-Id: %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", o.PostPath, o.Host, a.ID, len(body), body)
	return a
}

// ready sees to a connection that is open as far as one can know without
// writing to it.
func (c *client) ready(ctx context.Context, deadline time.Time) error {
	if c.conn != nil {
		switch err := Look(c.conn, c.reader); {
		case err == nil:
			return c.conn.SetDeadline(deadline)
		case !errors.Is(err, ErrClosedByPeer):
			return kinded(Malformed, err)
		}
		c.close()
		c.tally.reopened()
	}
	dialing, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	conn, err := c.g.opts.Dial(dialing, "tcp", c.g.opts.Addr)
	if err != nil {
		return kinded(NotConnected, err)
	}
	c.tally.opened()
	c.conn, c.reader, c.served = conn, bufio.NewReaderSize(conn, 8<<10), 0
	return conn.SetDeadline(deadline)
}

// exchange writes the request and reads its answer; keep says whether the
// connection may be used again.
func (c *client) exchange(a *Answer) (keep bool, err error) {
	if _, err := c.conn.Write(c.out); err != nil {
		return false, kinded(Reset, fmt.Errorf("writing the request: %w", err))
	}
	h, body, err := readAnswer(c.reader, c.body[:0])
	c.body, a.Status = body, h.status
	if err != nil {
		return false, err
	}
	if h.status < 200 || h.status > 299 {
		return false, kinded(BadStatus, fmt.Errorf("status %d: %.200s", h.status, body))
	}
	return !h.close, c.verify(a, body)
}

// verify checks that the answer is the one to this request.
func (c *client) verify(a *Answer, body []byte) error {
	var got struct{ ID, Slot, Revision string }
	if err := json.Unmarshal(body, &got); err != nil {
		return kinded(WrongAnswer, fmt.Errorf("%w in %.200q", err, body))
	}
	a.Slot, a.Revision = got.Slot, got.Revision
	if got.ID != a.ID {
		return kinded(WrongAnswer, fmt.Errorf("the answer bears the id %q", got.ID))
	}
	if !c.g.known(got.Slot) {
		return kinded(WrongAnswer, fmt.Errorf("the answer bears the slot %q", got.Slot))
	}
	return nil
}

func (c *client) fail(a Answer, err error) bool {
	c.tally.failed(a, c.served, err)
	c.close()
	return false
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *client) thinkingTime() time.Duration {
	spread := 0.8 + 0.4*rand.Float64()
	return time.Duration(spread * float64(c.g.opts.Think))
}

// pause waits for d, or leaves at once when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
