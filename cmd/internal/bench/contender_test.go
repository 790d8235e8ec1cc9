package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/cmd/internal/config"
)

func TestNginxDoesWhatIsAskedOfIt(t *testing.T) {
	w := testWorld(t)
	var err error
	if w.programs["nginx"], err = lookUp("nginx"); err != nil {
		t.Fatalf("nginx of Debian's nginx-light is missing: %v", err)
	}
	root, err := w.files()
	if err != nil {
		t.Fatal(err)
	}
	slot, err := w.nginx(t.Context(), "slot", slotConfig, nginxValues{Workers: 1, Root: root, Small: strings.Repeat("x", smallSize)}, w.cores.rest)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.stop()
	in, err := startNginx(t.Context(), w, setup{slots: [2]string{slot.addr, slot.second}, accessLog: true})
	if err != nil {
		t.Fatal(err)
	}
	defer in.stop()
	if err := inspect(t.Context(), in); err != nil {
		t.Error(err)
	}
	if err := inspectSizes(t.Context(), in); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(filepath.Join(root, largePath), largeSize-1); err != nil {
		t.Fatal(err)
	}
	if err := inspectSizes(t.Context(), slot); err == nil {
		t.Error("an answer is a byte short, and that was not noticed")
	}
}

func TestHTTPUtilDoesWhatIsAskedOfIt(t *testing.T) {
	slot := httptest.NewServer(http.HandlerFunc(seen))
	defer slot.Close()
	addrs, err := freeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serveHTTPUtil(ctx, []string{"-listen", addrs[0] + "," + addrs[1], "-to", slot.Listener.Addr().String()}, nil)
	}()
	for _, addr := range addrs {
		c := &child{done: make(chan struct{})}
		if err := c.await(ctx, answers("http://"+addr+healthPath)); err != nil {
			t.Fatal(err)
		}
		if err := inspect(ctx, &instance{addr: addr, child: c}); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

// seen answers as the slot does. It does not count the requests of a connection.
func seen(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "for=%s real-ip=%s proto=%s host=%s serial=2", r.Header.Get("X-Forwarded-For"),
		r.Header.Get("X-Real-IP"), r.Header.Get("X-Forwarded-Proto"), r.Host)
}

func TestOurConfigurationIsGood(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	values := map[string]string{
		"Listen": "127.0.0.1:1", "Admin": "127.0.0.1:2", "Blue": "127.0.0.1:3", "Green": "127.0.0.1:4",
		"AccessLog": "/access.log", "More": "server: {max_header: 32KiB}",
	}
	if err := fill(file, oursConfig, values); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file); err != nil {
		t.Error(err)
	}
}
