// Bench compares charactier-proxy with Debian's nginx and HAProxy in front of
// the same slot, side by side: within one run, in rounds in which each contender
// has its turn, every one with the same number of processors, with the
// forwarded-header fields, kept connections, health checks and limits that it
// would have in production. It prints ratios, and writes them as CSV and as a
// picture. Time is never asserted, but an answer that is wrong or missing fails
// the run.
//
// What it starts listens on loopback only, and is ended with it.
//
// To add a contender, write a function that starts it (see nginx.go) and give it
// a line in [contenders].
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
