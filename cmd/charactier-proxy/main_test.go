package main

import (
	"context"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

// diesAtVar makes the test binary a daemon that kills itself at a step; see
// kill_test.go.
const diesAtVar = "TEST_DAEMON_DIES_AT"

func TestMain(m *testing.M) {
	if step, isDaemon := os.LookupEnv(diesAtVar); isDaemon {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		os.Exit(runDying(context.Background(), step, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}
