package switcher

import (
	"errors"
	"os"
	"syscall"
	"testing"
)

func mustBeginUpgrade(t *testing.T, s *Switcher) *Upgrade {
	t.Helper()
	u, _, err := s.BeginUpgrade(t.Context(), Request{Actor: root})
	if err != nil {
		t.Fatalf("beginning an upgrade: %v", err)
	}
	return u
}

func TestAnUpgradeKeepsOthersOutAndWaitsForNobody(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	res := mustReserve(t, s, KindDeploy, backendToGreen())
	_, _, err := s.BeginUpgrade(t.Context(), Request{Actor: root})
	wantError(t, err, ErrBusy, "deploy of backend to green")
	res.Lose("the command ended")

	u := mustBeginUpgrade(t, s)
	_, _, err = s.Switch(t.Context(), to(Green))
	wantError(t, err, ErrBusy, "upgrade")
	u.Fail(errors.New("no luck")) //nolint:errcheck // it is the one that was given
	mustSwitch(t, s, to(Green))
}

func TestAnUpgradeThatFailsGoesOnFromWhatIsOnDisk(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	mustSwitch(t, s, to(Green))
	u := mustBeginUpgrade(t, s)
	if err := u.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The new process came to know a third service before it failed.
	next := newWorld(t)
	next.disk, next.services = w.disk, append(next.services, ServiceConfig{Name: "third"})
	generation := next.mustBoot().State().Generation
	rec, err := u.Fail(errors.New("no luck"))
	if err == nil || err.Error() != "upgrading: no luck" {
		t.Errorf("it fails with %v", err)
	}
	if rec.Outcome != Failed || history(t, w.disk)[0].ID != rec.ID {
		t.Errorf("the history begins with %+v", history(t, w.disk)[0])
	}
	if got := s.State().Generation; got != generation {
		t.Errorf("it goes on from generation %d, on disk is %d", got, generation)
	}
	// Drains are watched again, and nothing gets a generation twice.
	if rec := mustSwitch(t, s, to(Blue)); rec.Generation <= generation || len(rec.Drain) == 0 && len(history(t, w.disk)[0].Drain) == 0 {
		t.Errorf("the switch afterwards is %+v", rec)
	}
}

func TestWhatABakeHasSeenOutlivesAnUpgrade(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	rec := mustSwitch(t, s, baked(Green, "backend"))
	u := mustBeginUpgrade(t, s)
	seen := map[string]BakeSeen{"backend": {Requests: BakeTally{Samples: 3, Bad: 1}}}
	wantError(t, s.NoteBakes(t.Context(), rec.ID, seen), ErrBusy, "upgrade")
	if err := u.NoteBakes(t.Context(), rec.ID, seen); err != nil {
		t.Fatal(err)
	}
	if err := u.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.Leave()
	wantError(t, s.NoteBakes(t.Context(), rec.ID, map[string]BakeSeen{"backend": {}}), ErrAborted, "stopping")
	next := newWorld(t)
	next.disk = w.disk
	wantEqual(t, "seen after the upgrade", seen["backend"], next.mustBoot().State().Services["backend"].Bake.Seen)
}

func TestAProcessThatLeftItsStateRefusesEverything(t *testing.T) {
	w := newWorld(t)
	s := w.mustBoot()
	u := mustBeginUpgrade(t, s)
	if err := u.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.Versions("v1", "v2")
	rec := u.Record()
	u.Leave()
	_, _, err := s.Switch(t.Context(), to(Green))
	wantError(t, err, ErrAborted, "stopping")

	next := newWorld(t)
	next.disk = w.disk
	heir := next.mustBoot()
	heir.Upgraded(rec)
	if got := history(t, w.disk)[0]; got.ID != rec.ID || got.Outcome != Done || got.ToVersion != "v2" {
		t.Errorf("the history begins with %+v", got)
	}
	if got := heir.Last(); got == nil || got.ID != rec.ID {
		t.Errorf("the last operation is %+v", got)
	}
	mustSwitch(t, heir, to(Green))
}

func TestTheLockOfAStateDirectoryPassesWithoutAGap(t *testing.T) {
	dir := t.TempDir()
	first, err := OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	copied := duplicate(t, first.Lock())
	second, err := AdoptFileStore(dir, copied)
	if err != nil {
		t.Fatal(err)
	}
	other := duplicate(t, first.Lock())
	if _, err := AdoptFileStore(t.TempDir(), other); err == nil {
		t.Error("the lock of another directory was taken")
	}
	other.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFileStore(dir); err == nil {
		t.Error("a third could take it once the first was gone")
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	third.Close()
}

func duplicate(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}
