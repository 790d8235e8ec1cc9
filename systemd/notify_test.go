package systemd_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/systemd"
)

// manager listens as systemd does.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 4096)
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := c.Read(buf)
	if err != nil {
		t.Fatalf("systemd was told nothing: %v", err)
	}
	return string(buf[:n])
}

func TestNotifierSpeaksTheProtocol(t *testing.T) {
	c := manager(t)
	n := systemd.NewNotifier()
	tests := []struct {
		say  func() error
		want string // a regular expression
	}{
		{func() error { return n.Ready("serving backend") }, "READY=1\nSTATUS=serving backend"},
		{func() error { return n.Reloading() }, "RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*"},
		{func() error { return n.Stopping("draining") }, "STOPPING=1\nSTATUS=draining"},
		{func() error { return n.Status("blue active") }, "STATUS=blue active"},
		{func() error { return n.Status("one\nREADY=1\r\ntwo") }, "STATUS=one READY=1 two"},
		{func() error { return n.ExtendTimeout(1500 * time.Millisecond) }, "EXTEND_TIMEOUT_USEC=1500000"},
	}
	for _, tt := range tests {
		if err := tt.say(); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, c); !regexp.MustCompile("^" + tt.want + "$").MatchString(got) {
			t.Errorf("systemd was told %q, want %q", got, tt.want)
		}
	}
}

func TestReloadingTellsTheMonotonicClock(t *testing.T) {
	c := manager(t)
	if err := systemd.NewNotifier().Reloading(); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(receive(t, c), "MONOTONIC_USEC=")
	usec, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	// The uptime counts suspended time too, and in hundredths of a second.
	got := time.Duration(usec) * time.Microsecond
	if up := uptime(t); got <= 0 || got > up+10*time.Millisecond {
		t.Errorf("monotonic clock = %v, want it within 0 and the uptime (%v)", got, up)
	}
}

func uptime(t *testing.T) time.Duration {
	t.Helper()
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Fatal(err)
	}
	up, err := time.ParseDuration(strings.Fields(string(data))[0] + "s")
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func TestWithoutSystemdNothingIsSaidAndNothingFails(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := systemd.NewNotifier()
	if n != nil {
		t.Fatalf("NewNotifier = %v, want nil", n)
	}
	for _, err := range []error{n.Ready(""), n.Reloading(), n.Stopping(""), n.Status(""), n.ExtendTimeout(1)} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestNotifierReportsThatSystemdIsGone(t *testing.T) {
	manager(t).Close()
	os.Remove(os.Getenv("NOTIFY_SOCKET"))
	if err := systemd.NewNotifier().Ready(""); err == nil || !strings.HasPrefix(err.Error(), "notifying systemd: ") {
		t.Errorf("Ready = %v", err)
	}
}

func TestWatchdogPingsOnlyWhileAlive(t *testing.T) {
	c := manager(t)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	var sick atomic.Bool
	checks := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- systemd.NewNotifier().Watchdog(ctx, func(ctx context.Context) error {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the check has no bound")
			}
			select {
			case checks <- struct{}{}:
			case <-ctx.Done():
			}
			if sick.Load() {
				return errors.New("the proxy does not answer")
			}
			return nil
		})
	}()
	for range 3 {
		<-checks
		if got := receive(t, c); got != "WATCHDOG=1" {
			t.Fatalf("systemd was told %q, want a ping", got)
		}
	}
	sick.Store(true)
	drain(t, c, checks)
	for range 3 {
		<-checks
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Watchdog = %v, want nil", err)
	}
	if got := pending(t, c); got != 0 {
		t.Errorf("%d pings of a sick process", got)
	}
}

// drain lets the check that may have begun while the process was well finish.
func drain(t *testing.T, c *net.UnixConn, checks <-chan struct{}) {
	t.Helper()
	<-checks
	<-checks
	pending(t, c)
}

// pending counts the messages that have arrived.
func pending(t *testing.T, c *net.UnixConn) (n int) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for buf := make([]byte, 4096); ; n++ {
		if _, err := c.Read(buf); err != nil {
			return n
		}
	}
}

func TestWithoutWatchdogNobodyIsAsked(t *testing.T) {
	tests := map[string]struct{ usec, pid string }{
		"systemd watches nobody":          {"", ""},
		"systemd watches another process": {"1000", "1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			manager(t)
			t.Setenv("WATCHDOG_USEC", tt.usec)
			t.Setenv("WATCHDOG_PID", tt.pid)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			err := systemd.NewNotifier().Watchdog(ctx, func(context.Context) error {
				t.Error("alive was called")
				return nil
			})
			if err != nil || ctx.Err() == nil {
				t.Errorf("Watchdog = %v before its context ended: %v", err, ctx.Err() == nil)
			}
		})
	}
}

func TestABadWatchdogPeriodIsAnError(t *testing.T) {
	manager(t)
	t.Setenv("WATCHDOG_USEC", "soon")
	err := systemd.NewNotifier().Watchdog(t.Context(), nil)
	if err == nil || !strings.HasPrefix(err.Error(), "reading the watchdog's period: ") {
		t.Errorf("Watchdog = %v", err)
	}
}
