package switcher

import "context"

// Clone is State.clone for stores in tests.
func Clone(s State) State { return s.clone() }

// NoTraffic moves nothing and AllHealthy asks nobody.
type (
	NoTraffic  struct{}
	AllHealthy struct{}
)

func (NoTraffic) Swap(map[string]Slot) (Drain, error) {
	return func(context.Context) ([]DrainCount, error) { return nil, nil }, nil
}

func (NoTraffic) Hold(...string) {}

func (NoTraffic) Release(...string) {}

func (AllHealthy) Await(context.Context, string, Slot) error { return nil }
