package chaos

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// moment is a time by the machine's monotonic clock, in nanoseconds. It is
// what Node's process.hrtime reads, so moments of all processes can be compared.
type moment int64

// never is after every moment: the end of what still goes on.
const never = moment(1<<63 - 1)

func now() moment {
	var ts unix.Timespec
	// It fails only for clocks that the kernel does not have.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return moment(ts.Nano())
}

func (m moment) since(start moment) time.Duration { return time.Duration(m - start) }

// pause waits for d, or leaves at once when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// patience bounds every wait for something that must come.
const patience = 30 * time.Second

// eventually asks again and again until there is no error, and returns the last
// one if that takes too long.
func eventually(ctx context.Context, ask func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		pause(ctx, 10*time.Millisecond)
	}
}
