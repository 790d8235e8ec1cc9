package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// demoSlotVerb is the hidden verb below demo that its slots are started with.
const demoSlotVerb = "slot"

func newDemoSlotCmd(e *env) *cobra.Command {
	var slot, listen string
	cmd := &cobra.Command{
		Use:    demoSlotVerb,
		Short:  "Be one slot of a demo",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return serveDemoSlot(ctx, slot, listen)
		},
	}
	cmd.Flags().StringVar(&slot, "slot", "blue", "its `NAME`")
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5000", "its `ADDRESS`")
	return cmd
}

// serveDemoSlot serves until ctx ends and its requests have.
func serveDemoSlot(ctx context.Context, slot, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("slot %s: %w", slot, err)
	}
	// Idle connections are closed after Node's five seconds.
	server := &http.Server{Handler: newDemoSlot(slot), IdleTimeout: 5 * time.Second, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), childStop)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	})
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("slot %s: %w", slot, err)
	}
	return <-stopped
}

// demoSlot is an app that counts its orders.
type demoSlot struct {
	name string

	mu     sync.Mutex
	orders map[string]int
}

func newDemoSlot(name string) http.Handler {
	s := &demoSlot{name: name, orders: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/health", s.echo)
	mux.HandleFunc("GET /api/v1/echo", s.echo)
	mux.HandleFunc("POST /api/v1/orders", s.order)
	mux.HandleFunc("GET /api/v1/orders", s.export)
	return mux
}

func (s *demoSlot) echo(w http.ResponseWriter, r *http.Request) {
	s.answer(w, http.StatusOK, r.Header.Get("X-Request-Id"))
}

// order is not idempotent: it counts.
func (s *demoSlot) order(w http.ResponseWriter, r *http.Request) {
	var body struct{ ID string }
	id := r.Header.Get("X-Request-Id")
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.ID != id {
		http.Error(w, "the id in the body is not X-Request-Id", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.orders[id]++
	s.mu.Unlock()
	// A database would take a moment, so that a switch finds requests under way.
	work := time.NewTimer(rand.N(4 * time.Millisecond))
	defer work.Stop()
	<-work.C
	s.answer(w, http.StatusCreated, id)
}

// export lists every order as "id count".
func (s *demoSlot) export(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.orders {
		fmt.Fprintln(w, id, n)
	}
}

func (s *demoSlot) answer(w http.ResponseWriter, status int, id string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The only error left is that the client has gone.
	_ = json.NewEncoder(w).Encode(map[string]string{"id": id, "slot": s.name})
}
