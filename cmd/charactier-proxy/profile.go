//go:build profile

package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"syscall"
)

// This build writes a CPU profile of its life into the directory that
// CHARACTIER_PROXY_PROFILES names: make pgo uses it.
func init() {
	f, err := os.Create(filepath.Join(os.Getenv("CHARACTIER_PROXY_PROFILES"), strconv.Itoa(os.Getpid())+".prof"))
	if err != nil {
		panic(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		panic(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-ended
		pprof.StopCPUProfile()
		f.Close() //nolint:errcheck // a profile that is not whole shows when it is merged
	}()
}
