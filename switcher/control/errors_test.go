package control_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// failing refuses every switch with err and this record.
func failing(rec switcher.Record, err error) fake {
	return fake{move: func(context.Context, control.SwitchRequest, switcher.Actor) (switcher.Record, error) {
		return rec, err
	}}
}

func TestEverySentinelSurvivesTheSocket(t *testing.T) {
	for _, sentinel := range control.Sentinels() {
		t.Run(sentinel.Error(), func(t *testing.T) {
			cause := fmt.Errorf("switching backend: %w: because", sentinel)
			w := serve(t, failing(switcher.Record{}, cause))
			_, err := w.client.Switch(t.Context(), control.SwitchRequest{})
			if !errors.Is(err, sentinel) {
				t.Errorf("errors.Is(%v, %v) is false", err, sentinel)
			}
			if err.Error() != cause.Error() {
				t.Errorf("got text %q, want %q", err, cause)
			}
			if got, want := control.ExitCode(err), control.ExitCode(cause); got != want {
				t.Errorf("exit code %d in the client, %d in the daemon", got, want)
			}
		})
	}
}

func TestExitCodesAreTheOnesThatScriptsRelyOn(t *testing.T) {
	for err, want := range map[error]int{
		nil:                            0,
		errors.New("anything"):         1,
		switcher.ErrNotSaved:           1,
		switcher.ErrAborted:            1,
		switcher.ErrNothingToAbort:     1,
		switcher.ErrNothingToRollBack:  1,
		control.ErrForbidden:           1,
		control.ErrInternal:            1,
		switcher.ErrUnknownService:     2,
		switcher.ErrUnknownSlot:        2,
		control.ErrBadConfig:           2,
		control.ErrBadRequest:          2,
		switcher.ErrUnhealthy:          3,
		switcher.ErrBusy:               4,
		control.ErrUnreachable:         5,
		context.DeadlineExceeded:       1,
		fmt.Errorf("x: %w", errBusyTo): 4,
	} {
		if got := control.ExitCode(err); got != want {
			t.Errorf("exit code of %v: got %d, want %d", err, got, want)
		}
	}
}

var errBusyTo = fmt.Errorf("switch is busy: %w", switcher.ErrBusy)

func TestFailedOperationReturnsItsRecord(t *testing.T) {
	rec := switcher.Record{
		ID: "op-7", Kind: switcher.KindSwitch, Outcome: switcher.Refused,
		Moves: []switcher.Move{{Service: "backend", From: switcher.Blue, To: switcher.Green}},
		Error: "probing",
	}
	w := serve(t, failing(rec, fmt.Errorf("probing: %w", switcher.ErrUnhealthy)))
	got, err := w.client.Switch(t.Context(), control.SwitchRequest{})
	if !errors.Is(err, switcher.ErrUnhealthy) {
		t.Errorf("got error %v, want ErrUnhealthy", err)
	}
	if diff := cmp.Diff(rec, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
}

type hintedError struct{ error }

func (hintedError) Hint() string    { return "turn it on" }
func (h hintedError) Unwrap() error { return h.error }

func TestHintOfTheDaemonReachesTheClient(t *testing.T) {
	w := serve(t, failing(switcher.Record{}, fmt.Errorf("outer: %w", hintedError{switcher.ErrNotSaved})))
	_, err := w.client.Switch(t.Context(), control.SwitchRequest{})
	var h interface{ Hint() string }
	if !errors.As(err, &h) || h.Hint() != "turn it on" {
		t.Errorf("the hint did not arrive with %v", err)
	}
}
