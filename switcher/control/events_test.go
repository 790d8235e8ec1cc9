package control_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func TestEventsArriveOneByOneAsTheyHappen(t *testing.T) {
	feed := make(chan switcher.Event)
	w := serve(t, fake{events: func(ctx context.Context, after uint64, emit func(switcher.Event) error) error {
		for {
			select {
			case e := <-feed:
				e.Seq += after
				if err := emit(e); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}})
	ctx, leave := context.WithCancel(t.Context())
	got := make(chan switcher.Event)
	ended := make(chan error, 1)
	go func() {
		ended <- w.client.Events(ctx, 10, func(e switcher.Event) error { got <- e; return nil })
	}()
	for seq := range uint64(3) {
		want := switcher.Event{Seq: 11 + seq, Kind: "switch", Text: "first\nline"}
		feed <- switcher.Event{Seq: 1 + seq, Kind: "switch", Text: "first\nline"}
		// The next one is not sent before this one has arrived.
		if diff := cmp.Diff(want, <-got); diff != "" {
			t.Errorf("event (-want +got):\n%s", diff)
		}
	}
	leave()
	if err := <-ended; err != nil {
		t.Errorf("leaving: %v", err)
	}
}

func TestEventsEndWithTheDaemonAndTheClientKnows(t *testing.T) {
	began := make(chan struct{})
	w := serve(t, fake{events: func(ctx context.Context, _ uint64, emit func(switcher.Event) error) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}})
	ended := make(chan error, 1)
	go func() {
		ended <- w.client.Events(context.Background(), 0, func(switcher.Event) error { return nil })
	}()
	await(t, began, "the stream to begin")
	w.stop()
	if err := <-ended; !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
}

func TestReaderOfEventsThatWantsNoMoreEndsTheStream(t *testing.T) {
	w := serve(t, echo())
	enough := errors.New("enough")
	err := w.client.Events(t.Context(), 0, func(switcher.Event) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("got %v, want its own error", err)
	}
}

// Without heartbeats a reader that left is found only when something happens,
// which at night may be never.
func TestHeartbeatsKeepAQuietStreamAlive(t *testing.T) {
	left := make(chan struct{})
	w := serveWith(t, fake{events: func(ctx context.Context, _ uint64, _ func(switcher.Event) error) error {
		<-ctx.Done()
		close(left)
		return ctx.Err()
	}}, func(s *control.Server) { s.SetPatience(time.Second, time.Second, 10*time.Millisecond) })
	c := dial(t, w.socket)
	if _, err := io.WriteString(c, "GET /v1/events HTTP/1.0\r\nHost: unix\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if line, err := r.ReadString('\n'); err != nil || line != "\n" {
			t.Fatalf("got %q %v, want an empty line", line, err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, left, "the server to notice")
}
