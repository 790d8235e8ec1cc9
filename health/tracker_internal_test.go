package health

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

func TestTrackerCountsOnlyWhatComesInARow(t *testing.T) {
	// In the histories + is a success, - a failure, ! a refused connect; the
	// states below them are what holds after each: unknown, healthy, bad.
	tests := []struct{ history, states string }{
		{"++", "uh"},
		{"+-+-+-+-", "uuuuuuuu"},
		{"---", "uub"},
		{"--+--+", "uuuuuu"},
		{"++--+--+", "uhhhhhhh"},
		{"++---+-++", "uhhhbbbbh"},
		{"++!++", "uhbbh"},
		{"!", "b"},
		{"!+!+", "bbbb"},
		{"-!", "ub"},
		{"---+++---", "uubbhhhhb"},
	}
	failure := errors.New("503")
	refused := fmt.Errorf("probing: %w", syscall.ECONNREFUSED)
	for _, tt := range tests {
		t.Run(tt.history, func(t *testing.T) {
			tr := tracker{rise: 2, fall: 3}
			got := ""
			for _, c := range tt.history {
				tr.observe(map[rune]error{'-': failure, '!': refused}[c])
				got += map[State]string{Unknown: "u", Healthy: "h", Unhealthy: "b"}[tr.state]
				if tr.successes != 0 && tr.failures != 0 {
					t.Fatalf("%d successes and %d failures in a row", tr.successes, tr.failures)
				}
			}
			if got != tt.states {
				t.Errorf("states = %s, want %s", got, tt.states)
			}
		})
	}
}
