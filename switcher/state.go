package switcher

import "time"

// State is exactly what is on disk.
type State struct {
	// Generation grows by one with each saved state.
	Generation uint64 `json:"generation"`
	// Services by name. A service that left the configuration keeps its entry,
	// so that it comes back to the slot it had.
	Services map[string]ServiceState `json:"services"`
	// Intent is the transaction that was about to swap; nil between operations.
	Intent *Record `json:"intent,omitempty"`
	// Last is the newest finished operation, so that a history whose last line
	// was lost can be mended at the next start.
	Last *Record `json:"last,omitempty"`
}

// ServiceState is what is remembered of one service.
type ServiceState struct {
	Active   Slot      `json:"active"`
	Previous Slot      `json:"previous,omitempty"` // active before; empty if it never moved
	Since    time.Time `json:"since"`              // when Active became active
	// RolledBack says that Active was reached by a rollback, so that Previous is
	// what was rolled back from and is not offered again.
	RolledBack bool  `json:"rolled_back,omitempty"`
	Held       *Held `json:"held,omitempty"`
}

// Held says since when and why a service's requests wait.
type Held struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
	Actor  Actor     `json:"actor"`
}
