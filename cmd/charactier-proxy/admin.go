package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"charactier-proxy/health"
	"charactier-proxy/switcher"
)

// newAdmin is the mux of the admin listener. It is for loopback: it changes
// nothing, but shows more than a stranger should see.
//
//	/healthz   200 while the process answers
//	/readyz    200 while requests are served as they should be, else 503 and why
//	/debug/pprof/
func newAdmin(d *daemon) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": version})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ready := d.readiness(r.Context())
		status := http.StatusOK
		if !ready.Ready {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, ready)
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// readiness answers /readyz.
type readiness struct {
	Ready    bool                        `json:"ready"`
	Reasons  []string                    `json:"reasons,omitempty"`
	Services map[string]serviceReadiness `json:"services"`
}

type serviceReadiness struct {
	Active string `json:"active"`
	Health string `json:"health"`
	Held   bool   `json:"held,omitempty"`
	// Waiting are the requests that wait, in a hold or for a slot that takes no
	// connections.
	Waiting int64 `json:"waiting,omitempty"`
}

// readiness is true while the doors are open and answer, and no service's
// active slot is known to be unhealthy. A slot not probed yet counts as ready,
// so that a restart of the proxy alone does not look like an outage; and so does one
// that takes no connections for no longer than its requests wait for it, so that
// its own restart does not.
func (d *daemon) readiness(ctx context.Context) readiness {
	ready := readiness{Services: map[string]serviceReadiness{}}
	if d.stopping.Load() {
		ready.Reasons = append(ready.Reasons, "shutting down")
	} else if err := d.doors.check(ctx); err != nil {
		ready.Reasons = append(ready.Reasons, err.Error())
	}
	for name, s := range d.configured() {
		status := d.watches.status(place{name, s.Active})
		ready.Services[name] = serviceReadiness{string(s.Active), status.State.String(), s.Held != nil, d.proxy.Waiting(name)}
		if status.State == health.Unhealthy && !d.waitedFor(name, status) {
			ready.Reasons = append(ready.Reasons, name+": the active slot "+string(s.Active)+" is unhealthy: "+errorText(status.Err))
		}
	}
	ready.Ready = len(ready.Reasons) == 0
	return ready
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The only error left is that the client has gone.
	_ = json.NewEncoder(w).Encode(v)
}

// serveAdmin serves until ctx ends.
func serveAdmin(ctx context.Context, ln net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ReadTimeout:       time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(newBoundedListener(ln, maxAdminConns)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// configured is the state of the services that the configuration names; the
// state also remembers those that left it.
func (d *daemon) configured() map[string]switcher.ServiceState {
	state := d.switcher.State()
	services := map[string]switcher.ServiceState{}
	for name := range d.config.current().Services {
		services[name] = state.Services[name]
	}
	return services
}
