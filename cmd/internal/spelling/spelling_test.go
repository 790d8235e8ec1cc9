package spelling_test

import (
	"testing"

	"charactier-proxy/cmd/internal/spelling"
)

func TestNearestFindsWhatWasMeant(t *testing.T) {
	verbs := []string{"status", "switch", "rollback", "release-hold", "hold", "history", "max_body"}
	for typed, want := range map[string]string{
		"status":   "status",
		"stauts":   "status",
		"Swicth":   "switch",
		"rollbakc": "rollback",
		"roll":     "rollback",
		"hodl":     "hold",
		"hist":     "history",
		"release":  "release-hold",
		"holt":     "hold",
		"st":       "status",
		"maxbody":  "max_body",
		"deploy":   "",
		"x":        "",
		"":         "",
	} {
		if got := spelling.Nearest(typed, verbs); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}
