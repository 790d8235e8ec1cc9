package proxy

import (
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
