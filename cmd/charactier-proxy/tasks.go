package main

import (
	"context"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// tasks are the daemon's goroutines that come and go while it runs: one for
// each listener and each health watch, by name.
type tasks struct {
	ctx   context.Context // of the whole daemon
	group *errgroup.Group // the first task to fail ends the daemon

	mu      sync.Mutex
	running map[string]*task
}

type task struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func newTasks(ctx context.Context, group *errgroup.Group) *tasks {
	return &tasks{ctx: ctx, group: group, running: map[string]*task{}}
}

// start runs do under name until it returns, stop(name) or the daemon's end.
func (t *tasks) start(name string, do func(context.Context) error) {
	ctx, cancel := context.WithCancel(t.ctx)
	started := &task{cancel: cancel, done: make(chan struct{})}
	t.mu.Lock()
	t.running[name] = started
	t.mu.Unlock()
	t.group.Go(func() error {
		defer close(started.done)
		defer cancel()
		return do(ctx)
	})
}

// stopBut ends all tasks but those that keep names, and waits until they have
// returned.
func (t *tasks) stopBut(keep func(name string) bool) {
	t.mu.Lock()
	names := slices.DeleteFunc(slices.Collect(maps.Keys(t.running)), keep)
	t.mu.Unlock()
	t.stop(names...)
}

// stop ends the named tasks and waits until all of them have returned.
func (t *tasks) stop(names ...string) {
	var stopped []*task
	t.mu.Lock()
	for _, name := range names {
		if running := t.running[name]; running != nil {
			running.cancel()
			stopped = append(stopped, running)
			delete(t.running, name)
		}
	}
	t.mu.Unlock()
	for _, s := range stopped {
		<-s.done
	}
}
