package main

import (
	"context"
	"errors"
	"net"
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
