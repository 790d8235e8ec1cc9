package switcher

import (
	"context"
	"time"
)

// FailedOver says that a service is where it is because its slot before was dead.
type FailedOver struct {
	ID     string    `json:"id"` // of the failover
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
}

// Failover is the switch that nobody asked for: the chosen services leave slots
// that are dead. It is a switch in all but its name, health check included (S3),
// and is refused as busy while anything else runs (S4). The state remembers it until
// the next move, so that whoever decides on failovers can end the one with the
// other.
func (s *Switcher) Failover(ctx context.Context, r Request) (Record, *Draining, error) {
	return s.run(ctx, KindFailover, r, planSwitch)
}
