package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// play is what a fake daemon answers, as a script writes it in a file.
type play struct {
	Version string
	Status  control.Status
	History []switcher.Record
	Events  []switcher.Event
	EndOnce bool // the first stream of events ends after its last one

	Switch, Rollback, Hold, ReleaseHold, Upgrade act
	Abort                                        failure
	Stopping                                     control.StoppingResult
	Reload                                       struct {
		failure
		control.ConfigStatus
	}
}

// act is how one operation goes.
type act struct {
	Record switcher.Record
	failure
	// Until makes it take until it is aborted ("abort"); until the client leaves
	// although it was aborted ("stuck") or because it only drains ("leave"); or
	// until it was asked to abort too late ("late"). With "die" the daemon is
	// killed once it has its record, which the next one on the same CALLS has.
	Until string
}

// failure is an error in the daemon; without a code there is none.
type failure struct{ Code, Message, Hint string }

func (f failure) err() error {
	if f.Code == "" {
		return nil
	}
	return &control.Error{Code: f.Code, Message: f.Message, Next: f.Hint}
}

// fakeDaemon is the command fakedaemon PLAY CALLS: a daemon that only talks.
// It appends what it was asked to the file CALLS.
func fakeDaemon() {
	if err := fakeMain(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fakeMain(script, calls string) error {
	raw, err := os.ReadFile(script)
	if err != nil {
		return err
	}
	f := &fakeOps{abort: make(chan struct{}, 1)}
	if err := json.Unmarshal(raw, &f.play); err != nil {
		return err
	}
	if f.calls, err = os.OpenFile(calls, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if err := f.inherit(); err != nil {
		return err
	}
	version := control.Version{Version: f.play.Version, Go: "go", API: 1}
	if version.Version == "" {
		version.Version = "devel"
	}
	server, err := control.NewServer(control.Options{Operations: f, Version: version, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := control.Listen(ctx, os.Getenv("CHARACTIER_PROXY_SOCKET"), "")
	if err != nil {
		return err
	}
	return server.Serve(ctx, ln)
}

// fakeOps plays.
type fakeOps struct {
	play  play
	calls *os.File
	abort chan struct{}

	mu      sync.Mutex
	op      *switcher.Operation
	last    *switcher.Record
	streams int
}

func (f *fakeOps) note(verb string, asked any) {
	raw, err := json.Marshal(asked)
	if err == nil {
		_, err = fmt.Fprintf(f.calls, "%s %s\n", verb, raw)
	}
	if err != nil {
		panic(err)
	}
}

func (f *fakeOps) set(op *switcher.Operation, last *switcher.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.op = op
	if last != nil {
		f.last = last
	}
}

func (f *fakeOps) Status(context.Context) control.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.play.Status
	if f.op != nil {
		s.Operation = f.op
	}
	if f.last != nil {
		s.Last = f.last
	}
	return s
}

func (f *fakeOps) History(limit int) ([]switcher.Record, error) {
	return f.play.History[:min(limit, len(f.play.History))], nil
}

func (f *fakeOps) Events(ctx context.Context, after uint64, emit func(switcher.Event) error) error {
	f.note("events", after)
	for _, e := range f.play.Events {
		if e.Seq <= after {
			continue
		}
		if err := emit(e); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.streams++
	first := f.streams == 1
	f.mu.Unlock()
	if first && f.play.EndOnce {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// perform does one act.
func (f *fakeOps) perform(ctx context.Context, kind switcher.Kind, a act, asked any, by switcher.Actor) (switcher.Record, error) {
	rec := a.Record
	rec.Kind, rec.Actor = kind, by
	op := &switcher.Operation{ID: rec.ID, Kind: kind, Moves: rec.Moves, Step: "awaiting health", Actor: by, Started: rec.Started}
	switch a.Until {
	case "abort", "stuck":
		f.set(op, nil)
		f.note(string(kind), asked)
		f.awaitAbort(ctx)
		if a.Until == "stuck" {
			<-ctx.Done()
		}
		f.set(nil, nil)
		rec.Outcome = switcher.Aborted
		return rec, fmt.Errorf("switching backend to green: %w", switcher.ErrAborted)
	case "late":
		f.set(op, nil)
		f.note(string(kind), asked)
		f.awaitAbort(ctx)
		return rec, a.err()
	case "die":
		rec.Started = time.Now()
		f.note(string(kind), asked)
		f.die(rec)
	case "leave":
		done := rec
		f.set(nil, &done)
		f.note(string(kind), asked)
		<-ctx.Done()
		return rec, ctx.Err()
	}
	f.note(string(kind), asked)
	return rec, a.err()
}

// die ends the daemon as the kernel would.
func (f *fakeOps) die(rec switcher.Record) {
	raw, err := json.Marshal(rec)
	if err == nil && rec.Outcome != "" {
		err = os.WriteFile(f.calls.Name()+".record", raw, 0o600)
	}
	if err == nil {
		err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	if err != nil {
		panic(err)
	}
	select {}
}

// inherit reads what a daemon that died has left.
func (f *fakeOps) inherit() error {
	raw, err := os.ReadFile(f.calls.Name() + ".record")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var rec switcher.Record
	f.play.History = append([]switcher.Record{rec}, f.play.History...)
	return json.Unmarshal(raw, &f.play.History[0])
}

func (f *fakeOps) awaitAbort(ctx context.Context) {
	select {
	case <-f.abort:
	case <-ctx.Done():
	}
}

func (f *fakeOps) Switch(ctx context.Context, r control.SwitchRequest, by switcher.Actor) (switcher.Record, error) {
	return f.perform(ctx, switcher.KindSwitch, f.play.Switch, r, by)
}

func (f *fakeOps) Rollback(ctx context.Context, r control.SwitchRequest, by switcher.Actor) (switcher.Record, error) {
	return f.perform(ctx, switcher.KindRollback, f.play.Rollback, r, by)
}

func (f *fakeOps) Hold(ctx context.Context, r control.HoldRequest, by switcher.Actor) (switcher.Record, error) {
	return f.perform(ctx, switcher.KindHold, f.play.Hold, r, by)
}

func (f *fakeOps) ReleaseHold(ctx context.Context, r control.HoldRequest, by switcher.Actor) (switcher.Record, error) {
	return f.perform(ctx, switcher.KindReleaseHold, f.play.ReleaseHold, r, by)
}

func (f *fakeOps) Stopping(_ context.Context, r control.StoppingRequest, _ switcher.Actor) (control.StoppingResult, error) {
	f.note("stopping", r)
	return f.play.Stopping, nil
}

func (f *fakeOps) Abort(_ context.Context, r control.AbortRequest, _ switcher.Actor) (control.AbortResult, error) {
	f.note("abort", r)
	if f.play.Switch.Until != "" {
		defer func() { f.abort <- struct{}{} }()
	}
	if err := f.play.Abort.err(); err != nil {
		return control.AbortResult{}, err
	}
	return control.AbortResult{ID: "op", Kind: switcher.KindSwitch}, nil
}

func (f *fakeOps) Upgrade(ctx context.Context, r control.UpgradeRequest, by switcher.Actor) (switcher.Record, error) {
	return f.perform(ctx, switcher.KindUpgrade, f.play.Upgrade, r, by)
}

func (f *fakeOps) EndStreams(_ context.Context, r control.EndStreamsRequest, _ switcher.Actor) (control.EndStreamsResult, error) {
	f.note("end-streams", r)
	return control.EndStreamsResult{}, nil
}

func (f *fakeOps) Reload(context.Context, switcher.Actor) (control.ConfigStatus, error) {
	f.note("reload", nil)
	return f.play.Reload.ConfigStatus, f.play.Reload.err()
}

func (f *fakeOps) Reserve(ctx context.Context, r control.ReserveRequest, _ switcher.Actor, tell func(any) error) error {
	f.note("reserve", r)
	if err := tell(control.Reservation{ID: "res"}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (f *fakeOps) StepReservation(_ context.Context, r control.ReserveStep, _ switcher.Actor) error {
	f.note("step", r)
	return nil
}

func (f *fakeOps) EndReservation(_ context.Context, r control.ReserveEnd, _ switcher.Actor) (switcher.Record, error) {
	f.note("end", r)
	return r.Record, nil
}
