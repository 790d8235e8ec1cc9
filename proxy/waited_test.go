package proxy

import (
	"context"
	"testing"
	"time"
)

// The deadline of the connection's head, or of its parking, is not that of the
// look for its client.
func TestAClientThatLeavesLateInAWaitIsNoticed(t *testing.T) {
	const span = 300 * time.Millisecond
	f := startDown(t, func(o *frontOptions) { o.park, o.server.ReadHeaderTimeout = span, span })
	c := f.dial()
	c.say(helloPost)
	f.awaitWaiting(1)
	begun := time.Now()
	f.await("the deadline to pass", func() bool { return time.Since(begun) > 3*span })
	c.Close()
	f.awaitWaiting(0)
	if e := f.entry(1); e["caused_by"] != "client" {
		t.Errorf("access log: %v", e)
	}
}

// P2 of a stop: who was let go to the slot before has no claim yet that the stop
// would wait for.
func TestWhoWasLetGoWaitsForAStopThatIsAnnouncedSince(t *testing.T) {
	f := startDown(t)
	target := f.proxy.table.Load().routes["backend"].target
	target.room.close(time.Now(), errShutDoor)
	letGo := waited{passed: target, missed: target}
	c, err := f.proxy.claimAnew(t.Context(), "backend", nil, letGo)
	if err != nil {
		t.Fatal(err)
	}
	c.release()
	target.room.announce(errStopping, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := f.proxy.claimAnew(ctx, "backend", nil, letGo); err != context.DeadlineExceeded {
		t.Errorf("%v: it did not wait", err)
	}
}
