package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"time"
)

// livenessHeader marks the daemon's own request to itself. Its value is a
// secret of this process, so nobody else can have it answered.
const livenessHeader = "Charactier-Proxy-Liveness"

// liveness proves that a listener still accepts, parses and answers: a request
// to ourselves goes in by the same door as everyone's and is answered before
// any slot is asked.
type liveness struct {
	token string
}

func newLiveness() *liveness { return &liveness{token: rand.Text()} }

// answers reports whether r is our own request, and if so answers it.
func (l *liveness) answers(w http.ResponseWriter, r *http.Request) bool {
	if got := r.Header[livenessHeader]; len(got) != 1 || got[0] != l.token {
		return false
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// check asks the listener at addr and fails unless it answers before ctx ends.
func (l *liveness) check(ctx context.Context, addr net.Addr) error {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, addr.Network(), reachable(addr))
		},
	}
	// Of the server itself, which no fast lane takes for a slot's.
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, "http://charactier-proxy/*", nil)
	if err != nil {
		return fmt.Errorf("asking ourselves: %w", err)
	}
	req.URL.Path, req.URL.Opaque = "", "*"
	req.Header.Set(livenessHeader, l.token)
	res, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("asking ourselves at %s: %w", addr, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("asking ourselves at %s: %s", addr, res.Status)
	}
	return nil
}

// reachable turns an address that was listened on into one that can be dialed:
// a wildcard becomes loopback.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	loopback := net.IPv4(127, 0, 0, 1)
	if tcp.IP.To4() == nil {
		loopback = net.IPv6loopback
	}
	return (&net.TCPAddr{IP: loopback, Port: tcp.Port}).String()
}

// livenessTimeout bounds one question to ourselves.
const livenessTimeout = 5 * time.Second
