package systemd

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier tells systemd about this process (sd_notify(3)). A nil Notifier says
// nothing, so nobody has to ask whether systemd is there. Its methods may be
// called by several goroutines at once; an error means that systemd could not
// be told, never that it disagreed.
type Notifier struct{}

// NewNotifier returns nil when nobody listens: NOTIFY_SOCKET is not set.
func NewNotifier() *Notifier {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	return &Notifier{}
}

// Ready says that the start, or a reload, is complete.
func (n *Notifier) Ready(status string) error {
	return n.send(daemon.SdNotifyReady, statusLine(status))
}

// Reloading says that a reload has begun; Ready must follow. systemd 253 and
// newer want to know since when (Type=notify-reload), older ones ignore it.
func (n *Notifier) Reloading() error {
	return n.send(daemon.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()))
}

// Stopping says that this process is on its way out.
func (n *Notifier) Stopping(status string) error {
	return n.send(daemon.SdNotifyStopping, statusLine(status))
}

// MainPID says that another process is the main one from now on. It must be of the
// same unit, and only the one that is main until now is heard.
func (n *Notifier) MainPID(pid int) error { return n.send(fmt.Sprintf("MAINPID=%d", pid)) }

// Watching says once that this process works, and so begins its watchdog's time
// anew.
func (n *Notifier) Watching() error { return n.send(daemon.SdNotifyWatchdog) }

// Status sets the line that systemctl status shows.
func (n *Notifier) Status(text string) error { return n.send(statusLine(text)) }

// ExtendTimeout asks for at least d more before the running start or stop is
// given up. It must be repeated before d is over.
func (n *Notifier) ExtendTimeout(d time.Duration) error {
	return n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", d.Microseconds()))
}

func (n *Notifier) send(lines ...string) error {
	if n == nil {
		return nil
	}
	if _, err := daemon.SdNotify(false, strings.Join(lines, "\n")); err != nil {
		return fmt.Errorf("notifying systemd: %w", err)
	}
	return nil
}

// statusLine keeps a text of several lines from being read as assignments.
func statusLine(text string) string {
	return "STATUS=" + strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

// monotonic reads the clock that systemd compares with; the time package keeps
// its own reading of it to itself.
func monotonic() time.Duration {
	const clockMonotonic = 1 // CLOCK_MONOTONIC, <linux/time.h>
	var ts syscall.Timespec
	// It cannot fail with a clock and a pointer that are valid.
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}
