package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"charactier-proxy/cmd/internal/reconcile"
)

func TestALockThatIsHeldIsWaitedForAloud(t *testing.T) {
	for name, held := range map[string]time.Duration{"for a moment": lockQuiet / 2, "for a while": lockTime / 2, "for ever": 0} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			free, err := reconcile.Lock(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if held > 0 {
				time.AfterFunc(held, free)
			} else {
				defer free()
			}
			var said []string
			lockUnits(t.Context(), dir, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })()
			want := map[string]int{"for a moment": 0, "for a while": 1, "for ever": 2}[name]
			if len(said) != want || want > 0 && !strings.Contains(said[0], fmt.Sprintf("locked by pid %d (", os.Getpid())) {
				t.Errorf("held %s: it said %q", name, said)
			}
		})
	}
}
