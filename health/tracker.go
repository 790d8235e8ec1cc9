package health

// State is what is known of an address.
type State int

const (
	// Unknown is the state before enough probes agreed.
	Unknown State = iota
	// Healthy is the state after Rise successes in a row.
	Healthy
	// Unhealthy is the state after Fall failures in a row, or one refused connect.
	Unhealthy
)

// String returns "unknown", "healthy" or "unhealthy".
func (s State) String() string {
	switch s {
	case Healthy:
		return "healthy"
	case Unhealthy:
		return "unhealthy"
	default:
		return "unknown"
	}
}

// MarshalText is String, so that states read well in JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// tracker counts successes and failures in a row. It knows no time and no lock.
type tracker struct {
	rise, fall          int
	state               State
	successes, failures int // in a row; one of them is zero
}

// observe counts the outcome of one probe.
func (t *tracker) observe(err error) {
	if err == nil {
		t.successes, t.failures = t.successes+1, 0
		if t.successes >= t.rise {
			t.state = Healthy
		}
		return
	}
	t.successes, t.failures = 0, t.failures+1
	if t.failures >= t.fall || Refused(err) {
		t.state = Unhealthy
	}
}

// refuse counts a failed connect that needs no second opinion.
func (t *tracker) refuse() {
	t.successes, t.failures = 0, t.failures+1
	t.state = Unhealthy
}
