package deploy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"charactier-proxy/switcher"
)

// fillDisk has every further write to the open journal fail, as on a full disk.
func (w *world) fillDisk() {
	w.t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		w.t.Fatal(err)
	}
	full, err := unix.Open("/dev/full", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer unix.Close(full)
	for _, e := range fds {
		path, err := os.Readlink("/proc/self/fd/" + e.Name())
		var fd int
		if _, scan := fmt.Sscan(e.Name(), &fd); err != nil || scan != nil || !strings.HasPrefix(path, w.root) || filepath.Base(path) != "journal.jsonl" {
			continue
		}
		if err := unix.Dup3(full, fd, unix.O_CLOEXEC); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestAFullDiskKeepsNothingFromBeingUndone(t *testing.T) {
	for n := 2; n <= countCalls(t); n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newWorld(t)
			links, ran := w.warmStandby()
			w.fault = func(i int, _ string, _ func()) error {
				if i == n {
					w.fillDisk()
				}
				return nil
			}
			r, err := w.deploy(t.Context(), request())
			w.fault = nil
			if errors.Is(err, ErrStuck) {
				t.Errorf("full in %q: %v", w.log[n-1], err)
			}
			if wrong := w.check(); wrong != nil {
				t.Errorf("full in %q: %v", w.log[n-1], wrong)
			}
			if bad := badNames(w, "backend"); bad != "" {
				t.Errorf("full in %q: %s is bad for that", w.log[n-1], bad)
			}
			if err == nil != (w.active["backend"] == green) {
				t.Errorf("full in %q: deploy = %s, %v, and backend is on %s", w.log[n-1], r.Outcome, err, w.active["backend"])
			}
			if _, err, _ := w.run(func(p *Pipeline) (Result, error) { _, err := p.Settle(t.Context()); return Result{}, err }); err != nil {
				t.Errorf("settled when there was room again: %v", err)
			}
			if wrong := w.checkSettled(links, ran); wrong != nil {
				t.Errorf("full in %q, then settled: %v", w.log[n-1], wrong)
			}
		})
	}
}

func TestALockThatCannotBeSignedIsTakenNevertheless(t *testing.T) {
	w := newWorld(t)
	if err := errors.Join(os.Mkdir(Dir(w.root), 0o755), os.Symlink("/dev/full", LockPath(w.root))); err != nil {
		t.Fatal(err)
	}
	p, err := Open(Options{Root: w.root})
	if err != nil {
		t.Fatalf("the disk is full, so that nothing could be aborted: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestALineAfterATornOneStandsAlone(t *testing.T) {
	deploys := t.TempDir()
	j, err := createJournal(deploys, "one", entry{Phase: phaseBegin})
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if _, err := j.file.WriteString(`{"phase":"doing","st`); err != nil {
		t.Fatal(err)
	}
	j.torn = true
	for _, e := range []entry{{Phase: phaseUndoing, Step: "build"}, {Phase: phaseEnd}} {
		if err := j.write(e); err != nil {
			t.Fatal(err)
		}
	}
	s, err := readStory(deploys, "one")
	if err != nil || !s.ended || s.last["build"] != phaseUndoing {
		t.Errorf("the journal tells %+v, %v", s, err)
	}
}

func TestACommandThatLeavesBetweenStepsAfterTheSwitchLeavesTraffic(t *testing.T) {
	w := newWorld(t)
	ctx, leave := context.WithCancel(t.Context())
	w.fault = func(_ int, call string, _ func()) error {
		if call == "move" {
			leave()
		}
		return nil
	}
	_, err := w.deploy(ctx, request())
	if !errors.Is(err, ErrDetached) || w.active["backend"] != green || len(w.bad["backend"]) > 0 {
		t.Errorf("deploy = %v, backend is on %s, bad %v; want it detached", err, w.active["backend"], w.bad["backend"])
	}
}

// slowDaemon goes on with a switch after its command has left, as it does once
// the intent is being saved.
type slowDaemon struct {
	daemon
	moving int // views until the switch has ended
	move   func()
}

func (d *slowDaemon) View(ctx context.Context) (View, error) {
	v, err := d.daemon.View(ctx)
	if d.moving > 0 {
		v.Moving = true
		if d.moving--; d.moving == 0 {
			d.move()
		}
	}
	return v, err
}

func TestASwitchThatGoesOnWithoutItsCommandIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	p := w.pipeline()
	slow := &slowDaemon{daemon: daemon{w}}
	p.opts.Daemon, p.opts.Regain = slow, regainTime
	w.fault = func(_ int, call string, effect func()) error {
		if call != "move" || slow.move != nil {
			return nil
		}
		slow.moving, slow.move = 4, func() { w.mu.Lock(); effect(); w.mu.Unlock() }
		return context.Canceled
	}
	r, err := p.Run(t.Context(), request())
	if err := w.check(); err != nil {
		t.Error(err)
	}
	if err != nil || r.Outcome != switcher.Done || w.active["backend"] != green {
		t.Errorf("deploy = %s, %v, and backend is on %s", r.Outcome, err, w.active["backend"])
	}
}
