package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/bench/report"
)

// benchCase is one kind of load.
type benchCase struct {
	report.Case
	// size is what a request moves in bytes, where that is what costs.
	size      int
	accessLog bool
	echo      bool // the slot is the one for WebSockets
	// fresh starts a contender anew for each turn.
	fresh bool
	drive driveFunc
	// calm is the same load with less going on, as the reference of ours only.
	// Only ours takes part in a case that has it.
	calm     driveFunc
	calmName string
}

// driveFunc loads an instance for about the time given.
type driveFunc func(context.Context, *bench, *instance, time.Duration) (outcome, error)

// cases are all kinds of load in their order. get comes first: its result
// decides the rate of the paced ones.
func cases(o options) []benchCase {
	post := `{"message":"` + strings.Repeat("x", 80) + `"}`
	return []benchCase{
		closed("get", "GET, 97 bytes", wrk{path: smallPath, connections: 64}, 0),
		closed("post", "POST, 94 bytes", wrk{path: postPath, body: post, connections: 64}, 0),
		closed("64k", "GET, 64 KiB", wrk{path: middlePath, connections: 64}, middleSize),
		closed("1m", "GET, 1 MiB", wrk{path: largePath, connections: 16}, largeSize),
		closed("many", "GET, 1,000 connections", wrk{path: smallPath, connections: 1000}, 0),
		{
			Case:  report.Case{Key: "crowd", Title: fmt.Sprintf("GET, 1,000 connections, %d idle", o.idle)},
			drive: driveCrowd(wrk{path: smallPath, connections: 1000}),
		},
		{Case: report.Case{Key: "rate", Title: "GET at half load"}, drive: drivePace},
		{Case: report.Case{Key: "websocket", Title: "WebSocket echo"}, echo: true, drive: driveEcho},
		logged(closed("log", "GET with access log", wrk{path: smallPath, connections: 64}, 0)),
		{
			Case:  report.Case{Key: "switching", Title: "10 switches a second"},
			drive: driveSwitches, calm: drivePace, calmName: "not switching",
		},
		{
			Case:  report.Case{Key: "idle", Title: fmt.Sprintf("%d idle connections", o.idle)},
			fresh: true, drive: driveIdleness,
		},
	}
}

func caseKeys() []string {
	var keys []string
	for _, c := range cases(options{}) {
		keys = append(keys, c.Key)
	}
	return keys
}

// closed is a case of wrk's.
func closed(key, title string, k wrk, size int) benchCase {
	return benchCase{
		Case: report.Case{Key: key, Title: title}, size: size,
		drive: func(ctx context.Context, b *bench, in *instance, d time.Duration) (outcome, error) {
			return k.run(ctx, b.world, in.addr, d)
		},
	}
}

func logged(c benchCase) benchCase {
	c.accessLog = true
	return c
}

func drivePace(ctx context.Context, b *bench, in *instance, d time.Duration) (outcome, error) {
	return b.world.paced(ctx, in.addr, b.rate, d)
}

func driveSwitches(ctx context.Context, b *bench, in *instance, d time.Duration) (outcome, error) {
	return b.world.switching(ctx, in, b.rate, d)
}

func driveEcho(ctx context.Context, b *bench, in *instance, d time.Duration) (outcome, error) {
	return b.world.webSocket(ctx, in.addr, d)
}

func driveIdleness(ctx context.Context, b *bench, in *instance, _ time.Duration) (outcome, error) {
	return b.world.idle(ctx, in, b.opts.idle, b.opts.settle)
}

// setup is what the case asks of a contender.
func (c benchCase) setup(w *world) setup {
	slots := [2]string{w.slot.addr, w.slot.second}
	if c.echo {
		slots = [2]string{w.echo.addr, w.echo.second}
	}
	return setup{slots: slots, accessLog: c.accessLog}
}

// entry is one contender in a case.
type entry struct {
	contender
	drive driveFunc
	in    *instance
}

// entries are those who take part in the case.
func (c benchCase) entries(all []contender) []*entry {
	var entries []*entry
	for _, one := range all {
		if !one.takesPart(c.Key) || c.calm != nil && one.Kind != report.Ours {
			continue
		}
		entries = append(entries, &entry{contender: one, drive: c.drive})
		if c.calm != nil {
			calm := one
			calm.Contender = report.Contender{Name: one.Name + ", " + c.calmName, Kind: report.Reference, Of: one.Name}
			entries = append(entries, &entry{contender: calm, drive: c.calm})
		}
	}
	return entries
}
