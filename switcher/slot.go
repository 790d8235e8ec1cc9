package switcher

import "fmt"

// Slot names one of a service's two places.
type Slot string

// The two slots.
const (
	Blue  Slot = "blue"
	Green Slot = "green"
)

// Other returns the slot that s is not.
func (s Slot) Other() Slot {
	if s == Blue {
		return Green
	}
	return Blue
}

// ParseSlot accepts "blue" and "green"; the error wraps [ErrUnknownSlot].
func ParseSlot(text string) (Slot, error) {
	switch s := Slot(text); s {
	case Blue, Green:
		return s, nil
	}
	return "", fmt.Errorf("%w %q: use blue or green", ErrUnknownSlot, text)
}
