package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"charactier-proxy/systemd"
)

type fakeBus struct{ lost, closed bool }

func (f *fakeBus) Close() error { f.closed = true; return nil }

func TestABusThatWasRestartedIsConnectedToAgain(t *testing.T) {
	var made []*fakeBus
	l, err := newReconnecting(t.Context(), func(context.Context) (*fakeBus, error) {
		made = append(made, &fakeBus{})
		return made[len(made)-1], nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(f *fakeBus) error {
		if f.lost {
			return fmt.Errorf("starting x: %w", systemd.ErrDisconnected)
		}
		return nil
	}
	for range 3 {
		if err := l.again(t.Context(), ask); err != nil || len(made) != 1 {
			t.Fatalf("%v, %d connections, want one", err, len(made))
		}
	}
	made[0].lost = true
	if err := l.again(t.Context(), ask); err != nil || len(made) != 2 || !made[0].closed {
		t.Errorf("after a restart: %v, %d connections", err, len(made))
	}
	made[1].lost = true
	if err := l.once(t.Context(), ask); !errors.Is(err, systemd.ErrDisconnected) || len(made) != 2 {
		t.Errorf("what must not be done twice: %v, %d connections", err, len(made))
	}
	if err := l.once(t.Context(), ask); err != nil || len(made) != 3 {
		t.Errorf("the next one: %v, %d connections", err, len(made))
	}
	if err := l.Close(); err != nil || !made[2].closed {
		t.Errorf("it is not closed: %v", err)
	}
}
