package control

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"charactier-proxy/switcher"
)

// Reservation keeps everybody else from changing anything, for as long as its
// connection lasts: see [Client.Reserve]. Its methods may be called by several
// goroutines at once.
type Reservation struct {
	ID string `json:"id"`
	// Generation is that of the state when the reservation began.
	Generation uint64 `json:"generation"`

	client *Client
	asked  chan string
	lost   chan struct{}
	leave  func()
}

// Reserve begins a reservation. It ends with [Reservation.End]; or without a
// word, which the history then says, with ctx, [Reservation.Close], this process
// or the daemon.
func (c *Client) Reserve(ctx context.Context, r ReserveRequest) (*Reservation, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	patience := cmp.Or(c.answerTime, answerTime)
	late := time.AfterFunc(patience, func() { cancel(c.silent(patience)) })
	resp, err := c.send(ctx, RouteReserve, nil, r)
	if err != nil {
		late.Stop()
		cancel(nil)
		return nil, err
	}
	lines := bufio.NewScanner(resp.Body)
	res := &Reservation{client: c, asked: make(chan string, 1), lost: make(chan struct{})}
	begun := lines.Scan() && json.Unmarshal(lines.Bytes(), res) == nil && res.ID != ""
	if !late.Stop() || !begun {
		err := fmt.Errorf("%w: it ended the reservation as it began", ErrUnreachable)
		if ctx.Err() != nil {
			err = c.unreachable(ctx, nil)
		}
		cancel(nil)
		resp.Body.Close()
		return nil, err
	}
	res.leave = sync.OnceFunc(func() {
		cancel(nil)
		<-res.lost
	})
	go func() {
		defer close(res.lost)
		defer cancel(nil)
		defer resp.Body.Close()
		res.listen(lines)
	}()
	return res, nil
}

// listen reads until the connection ends.
func (r *Reservation) listen(lines *bufio.Scanner) {
	for lines.Scan() {
		var ask ReservationAsk
		if len(lines.Bytes()) == 0 || json.Unmarshal(lines.Bytes(), &ask) != nil || ask.Abort == "" {
			continue
		}
		select {
		case r.asked <- ask.Abort:
		default: // who asked before was not listened to yet
		}
	}
}

// Asked tells who wants the work to stop.
func (r *Reservation) Asked() <-chan string { return r.asked }

// Lost is closed once the connection has ended, and with it the reservation.
func (r *Reservation) Lost() <-chan struct{} { return r.lost }

// Step says where the work is. A text, if there is one, goes to those who watch
// the events; an empty level is info.
func (r *Reservation) Step(ctx context.Context, step, text, level string) error {
	_, err := fetch[struct{}](ctx, r.client, RouteReserveStep, nil, ReserveStep{ID: r.ID, Step: step, Level: level, Text: text})
	return err
}

// End ends the reservation with the record of what was done, and returns that
// as the history has it. Of the record the outcome, moves, services, reason,
// error, warning and bake count; good are releases that are not bad any more.
func (r *Reservation) End(ctx context.Context, rec switcher.Record, exonerate ...string) (switcher.Record, error) {
	rec, err := operate(ctx, r.client, RouteReserveEnd, ReserveEnd{ID: r.ID, Record: rec, Exonerate: exonerate})
	if err == nil {
		r.Close()
	}
	return rec, err
}

// Close leaves. Without an End before it, the history says that the work was
// interrupted. It may be called more than once.
func (r *Reservation) Close() { r.leave() }
