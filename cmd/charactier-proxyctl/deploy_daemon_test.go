package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// A socket that systemd holds takes connections while the daemon cannot start.
func TestAskingASilentDaemonForAReservationEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d := deployDaemon{&control.Client{Socket: path}}
	if _, err := d.Reserve(ctx, switcher.KindDeploy, nil, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("reserving = %v, want it cancelled", err)
	}
}

func TestWhoLetsGoWaitsUntilTheDaemonHasSeenIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		status := control.Status{}
		if asked++; asked < 3 { // the daemon is slow to see it
			status.Reservation = &switcher.Operation{ID: "it"}
		}
		json.NewEncoder(w).Encode(status) //nolint:errcheck // the client tells
	})
	server := &http.Server{Handler: mux}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(ln) //nolint:errcheck // it ends with the test
	}()
	defer func() { server.Close(); <-ended }()
	client := &control.Client{Socket: path}
	awaitUnreserved(client, "it")
	if asked != 3 {
		t.Errorf("it asked %d times, want 3", asked)
	}
}
