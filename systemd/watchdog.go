package systemd

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog blocks until ctx ends. If systemd watches this process, it calls
// alive three times per WatchdogSec, each time bounded by that third, and pings
// only after alive returned nil: a process that cannot do its work is restarted
// even if its timers still run. alive should log what it found; systemd is told
// only by silence. Without a watchdog alive is never called.
//
// The error is nil once ctx has ended, and otherwise says what is wrong with
// the environment.
func (n *Notifier) Watchdog(ctx context.Context, alive func(context.Context) error) error {
	period, err := n.watchdogPeriod()
	if err != nil {
		return fmt.Errorf("reading the watchdog's period: %w", err)
	}
	if period == 0 {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(period / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if isAlive(ctx, period/3, alive) {
				// A ping that got lost is made up for by the next.
				_ = n.send(daemon.SdNotifyWatchdog)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *Notifier) watchdogPeriod() (time.Duration, error) {
	if n == nil {
		return 0, nil
	}
	return daemon.SdWatchdogEnabled(false)
}

func isAlive(ctx context.Context, within time.Duration, alive func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return alive(ctx) == nil
}
