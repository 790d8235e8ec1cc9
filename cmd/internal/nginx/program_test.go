package nginx_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"charactier-proxy/cmd/internal/nginx"
)

// A second Ctrl-C, while the first one has files put back, must not end the
// nginx that tests them.
func TestATerminalsSignalsDoNotReachNginx(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nginx")
	const script = "#!/bin/sh\nread -r _ _ _ _ group _ </proc/$$/stat\necho \"$group\" >&2\nexit 1\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	var refusal *nginx.Refusal
	if err := (nginx.Program{Path: path}).Test(t.Context()); !errors.As(err, &refusal) {
		t.Fatal(err)
	}
	group, err := strconv.Atoi(refusal.Words)
	if err != nil || group == syscall.Getpgrp() {
		t.Errorf("it ran in the process group %q, and the test in %d", refusal.Words, syscall.Getpgrp())
	}
}
