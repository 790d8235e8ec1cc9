package reconcile

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"
)

func TestTheLockIsHadByOneAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside somebody else: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, unlock)
	again, err := Lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestALockThatCannotBeMadeIsToldOf(t *testing.T) {
	if _, err := Lock(t.Context(), "/proc/none/lock"); err == nil {
		t.Error("it was locked")
	}
}
