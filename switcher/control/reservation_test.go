package control_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// reserving is a daemon with one reservation; left gets a value when its client
// has gone.
func reserving(left chan<- struct{}, asks <-chan string) fake {
	return fake{reserve: func(ctx context.Context, _ control.ReserveRequest, _ switcher.Actor, tell func(any) error) error {
		defer func() { left <- struct{}{} }()
		if err := tell(control.Reservation{ID: "res"}); err != nil {
			return err
		}
		for {
			select {
			case by := <-asks:
				if err := tell(control.ReservationAsk{Abort: by}); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}}
}

func reserve(t *testing.T, w *world) *control.Reservation {
	t.Helper()
	r, err := w.client.Reserve(t.Context(), control.ReserveRequest{Kind: switcher.KindDeploy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestARefusedReservationSaysWhy(t *testing.T) {
	w := serve(t, fake{reserve: func(context.Context, control.ReserveRequest, switcher.Actor, func(any) error) error {
		return fmt.Errorf("%w: deploy of backend to green by root", switcher.ErrBusy)
	}})
	_, err := w.client.Reserve(t.Context(), control.ReserveRequest{Kind: switcher.KindDeploy})
	if !errors.Is(err, switcher.ErrBusy) || !strings.Contains(err.Error(), "by root") || control.ExitCode(err) != control.ExitBusy {
		t.Errorf("error is %v, exit code %d", err, control.ExitCode(err))
	}
}

func TestAReservationEndsWithItsClient(t *testing.T) {
	left := make(chan struct{}, 1)
	w := serve(t, reserving(left, nil))
	r := reserve(t, w)
	select {
	case <-r.Lost():
		t.Fatal("lost as it began")
	default:
	}
	r.Close()
	<-left
	<-r.Lost()
}

func TestAReservationEndsWithItsContext(t *testing.T) {
	left := make(chan struct{}, 1)
	w := serve(t, reserving(left, nil))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := w.client.Reserve(ctx, control.ReserveRequest{Kind: switcher.KindDeploy})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-left
	<-r.Lost()
}

func TestAReservationIsLostWithTheDaemon(t *testing.T) {
	left := make(chan struct{}, 1)
	w := serve(t, reserving(left, nil))
	r := reserve(t, w)
	w.stop()
	<-left
	<-r.Lost()
}

func TestWhoAsksToAbortIsHeard(t *testing.T) {
	left, asks := make(chan struct{}, 1), make(chan string)
	w := serve(t, reserving(left, asks))
	r := reserve(t, w)
	asks <- "alice"
	if by := <-r.Asked(); by != "alice" {
		t.Errorf("asked by %q", by)
	}
	// Those who ask more often than anybody listens do not block the stream.
	for range 5 {
		asks <- "bob"
	}
	if by := <-r.Asked(); by != "bob" {
		t.Errorf("asked by %q", by)
	}
	r.Close()
	<-left
}

func TestAReservationMayEndInAnyWay(t *testing.T) {
	for _, outcome := range []switcher.Outcome{
		switcher.Done, switcher.Unchanged, switcher.Failed, switcher.Refused, switcher.Aborted, switcher.Returned, switcher.Interrupted,
	} {
		r := reserve(t, serve(t, reserving(make(chan struct{}, 1), nil)))
		if _, err := r.End(t.Context(), switcher.Record{Outcome: outcome}); err != nil {
			t.Errorf("%s: %v", outcome, err)
		}
	}
}

func TestWhatAReservationSaysIsPlainText(t *testing.T) {
	left := make(chan struct{}, 1)
	w := serve(t, reserving(left, nil))
	r := reserve(t, w)
	long := strings.Repeat("x", 5000)
	for what, err := range map[string]error{
		"kind":    second(w.client.Reserve(t.Context(), control.ReserveRequest{Kind: switcher.KindHold})),
		"reason":  second(w.client.Reserve(t.Context(), control.ReserveRequest{Kind: switcher.KindDeploy, Reason: "a\nb"})),
		"level":   r.Step(t.Context(), "build", "x", "loud"),
		"step":    r.Step(t.Context(), long, "", ""),
		"text":    r.Step(t.Context(), "build", "\x1b[2J", ""),
		"outcome": second(r.End(t.Context(), switcher.Record{Outcome: "fine"})),
		"error":   second(r.End(t.Context(), switcher.Record{Outcome: switcher.Failed, Error: long})),
		"warning": second(r.End(t.Context(), switcher.Record{Outcome: switcher.Done, Warning: "a\x00"})),
		"name":    second(r.End(t.Context(), switcher.Record{Outcome: switcher.Done, Moves: []switcher.Move{{To: switcher.Blue, ToRelease: "\u202e"}}})),
	} {
		if !errors.Is(err, control.ErrBadRequest) {
			t.Errorf("%s: %v, want a bad request", what, err)
		}
	}
	err := second(r.End(t.Context(), switcher.Record{Outcome: switcher.Done, Moves: []switcher.Move{{To: "red"}}}))
	if !errors.Is(err, switcher.ErrUnknownSlot) {
		t.Errorf("slot: %v", err)
	}
	select {
	case <-r.Lost():
		t.Error("a refused end ended the reservation")
	default:
	}
	r.Close()
	<-left
}

func second[T any](_ T, err error) error { return err }

func TestABakeIsBoundedAndNotForRollbacks(t *testing.T) {
	w := serve(t, fake{})
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{Bake: 25 * time.Hour}); !errors.Is(err, control.ErrBadRequest) {
		t.Errorf("a bake of 25 hours: %v", err)
	}
	if _, err := w.client.Rollback(t.Context(), control.SwitchRequest{Bake: -1}); !errors.Is(err, control.ErrBadRequest) {
		t.Errorf("a rollback that bakes: %v", err)
	}
}

// The empty lines that keep a quiet stream alive are no asks.
func TestHeartbeatsAreNotHeard(t *testing.T) {
	left, asks := make(chan struct{}, 1), make(chan string)
	w := serveWith(t, reserving(left, asks), func(s *control.Server) { s.SetPatience(time.Second, time.Second, time.Millisecond) })
	r := reserve(t, w)
	select {
	case by := <-r.Asked():
		t.Errorf("asked by %q", by)
	case <-time.After(20 * time.Millisecond):
	}
	asks <- "alice"
	if by := <-r.Asked(); by != "alice" {
		t.Errorf("asked by %q", by)
	}
	r.Close()
	<-left
}

func TestAReservationWhoseDaemonFallsSilentIsGivenUp(t *testing.T) {
	w := serve(t, reserving(make(chan struct{}, 1), nil))
	r := reserve(t, w)
	w.client.SetAnswerTime(20 * time.Millisecond)
	w.client.Socket = silentSocket(t)
	if err := r.Step(t.Context(), "gate", "", ""); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("a step gives %v, want the daemon not reachable", err)
	}
}

// silentSocket takes connections, as systemd does for a daemon that cannot
// start, and answers nothing.
func silentSocket(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(publicDir(t), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return path
}
