package deploy

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"time"

	"charactier-proxy/switcher"
)

// Options are what a pipeline is made of. Confirm and Report may be nil.
type Options struct {
	// Root is the directory that releases and deploys are kept below.
	Root     string
	Services []Service
	Keep     int
	MinFree  uint64

	Daemon   Daemon
	Units    Units
	Releases Releases
	Probe    Prober

	// Repository is where releases come from, for the plan.
	Repository string
	// Hooks are commands before and after steps: "before switch: COMMAND".
	Hooks       []string
	HookTimeout time.Duration
	// Confirm asks a person; nil means that nobody is there.
	Confirm func(ctx context.Context, question string) (bool, error)
	// Report is told what happens, by several goroutines at once.
	Report func(Report)

	Actor switcher.Actor
	// SavedActive reads which slots are active by the daemon's state file, for when
	// the daemon is gone; nil where that cannot be read.
	SavedActive func() (map[string]switcher.Slot, error)
	// Regain is how long a daemon that ended may take to be back; zero means
	// regainTime.
	Regain time.Duration
}

// Pipeline runs one deploy at a time. It is made for one command and used by
// one goroutine.
type Pipeline struct {
	opts Options
	lock *os.File
}

// Open makes the directory for journals and takes the lock of the machine's
// only deploy; the error wraps [switcher.ErrBusy] if another process has it.
func Open(o Options) (*Pipeline, error) {
	p := &Pipeline{opts: o}
	// The daemon, which is not root, tells of what is unfinished, whatever the umask.
	if err := errors.Join(os.MkdirAll(p.deploys(), 0o755), os.Chmod(p.deploys(), 0o755)); err != nil {
		return nil, fmt.Errorf("making the directory for journals: %w", err)
	}
	f, err := os.OpenFile(LockPath(p.opts.Root), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of deploys: %w", err)
	}
	if err := takeLock(f); err != nil {
		holder, _ := os.ReadFile(f.Name()) // for the message only
		return nil, errors.Join(fmt.Errorf("%w: a deploy%s", switcher.ErrBusy, holder), f.Close())
	}
	p.lock = f
	p.sign()
	return p, nil
}

// Close gives the lock up.
func (p *Pipeline) Close() error { return p.lock.Close() }

func (p *Pipeline) deploys() string { return Dir(p.opts.Root) }

// Result is how a deploy ended.
type Result struct {
	ID       string           `json:"id"`
	Kind     switcher.Kind    `json:"kind"` // a deploy, or a rollback
	Outcome  switcher.Outcome `json:"outcome"`
	Release  string           `json:"release,omitempty"`
	Revision string           `json:"revision,omitempty"`
	Subject  string           `json:"subject,omitempty"`
	Moves    []switcher.Move  `json:"moves,omitempty"`
	Bake     string           `json:"bake,omitempty"` // what the bake found, in a sentence
	Warnings []string         `json:"warnings,omitempty"`
	// Standby says, a line for each service, what the standby slot is after it was
	// undone: whether a rollback would find it running.
	Standby  []string      `json:"standby,omitempty"`
	Returned bool          `json:"returned,omitempty"`
	Took     time.Duration `json:"took_ns"`
	// OwnTime is the part of Took that was neither the commands of the build, nor
	// waiting for units, health, requests, bakes or people.
	OwnTime time.Duration `json:"own_ns"`
	Log     string        `json:"log"` // the directory with this deploy's logs; empty where there is none
}

// Run runs a new deploy. After an error traffic is where it was, unless the
// error wraps [ErrDetached]. Errors may wrap [ErrReturned], [ErrUnhealthy],
// [ErrDraining], [ErrBadRelease], [switcher.ErrBusy] and [switcher.ErrAborted].
// ctx ends it before the switch; later it only ends the waiting.
func (p *Pipeline) Run(ctx context.Context, r Request) (Result, error) {
	id := newID(time.Now())
	j, unmade := createJournal(p.deploys(), id, entry{Phase: phaseBegin, Request: &r, By: &p.opts.Actor})
	switch {
	case unmade == nil:
	case r.keepsLinks():
		j = &journal{id: id}
	default:
		return Result{}, hint(unmade, "nothing was begun; df -h "+p.opts.Root+", and make room")
	}
	s := newStory(j.id)
	s.request, s.by, s.begun = r, p.opts.Actor, time.Now()
	d := p.newDeploy(j, s)
	defer d.close()
	if unmade != nil {
		d.warn("preflight", unwritten(unmade))
	}
	if err := d.reserve(ctx); err != nil {
		return d.end(nil, err)
	}
	return d.forward(ctx, 0)
}

// newID sorts by time.
func newID(now time.Time) string {
	b := make([]byte, 3)
	rand.Read(b)
	return now.UTC().Format("20060102T150405.000Z") + "-" + hex.EncodeToString(b)
}
