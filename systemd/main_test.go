package systemd_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the test binary as the started service when a test asks for
// it: LISTEN_PID must be the child's own, so only a child can be activated.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		os.Exit(activated(role))
	}
	goleak.VerifyTestMain(m)
}
