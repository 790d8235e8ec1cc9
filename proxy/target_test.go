package proxy

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// P2, in one step: whoever claims while a target is retired either is counted
// before its end or is refused. The two meet as closely as two processors can,
// again and again, for about a second; a claim that looked first and counted
// afterwards is caught within the first thousand.
func TestAClaimEitherCountsOrIsRefused(t *testing.T) {
	const meetings = 100_000
	targets := make([]target, meetings)
	claimed, drained := make([]bool, meetings), make([]bool, meetings)
	for i := range targets {
		targets[i].changed = make(chan struct{})
	}
	var claimer, retirer atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range targets {
			meet(&claimer, &retirer, i)
			claimed[i] = targets[i].claim()
		}
	}()
	start, met := time.Now(), 0
	for i := range targets {
		took := time.Since(start)
		if took > time.Second && met > 3000 || took > 5*time.Second { // a busy machine lets them meet seldom
			break
		}
		met++
		meet(&retirer, &claimer, i)
		for range i % 100 {
			retirer.Load() // so that they do not always meet at the same instruction
		}
		targets[i].retire()
		drained[i] = targets[i].drained()
	}
	retirer.Store(meetings) // the claimer goes through the rest alone
	<-done
	var both, counted int
	for i := range met {
		if claimed[i] {
			counted++
		}
		if claimed[i] && drained[i] {
			both++
		}
	}
	if both > 0 {
		t.Errorf("%d times a target was drained and then claimed", both)
	}
	t.Logf("%d of %d claims came before the end", counted, met)
}

// meet says that it has come to meeting i and waits for the other.
func meet(mine, theirs *atomic.Int64, i int) {
	mine.Store(int64(i) + 1)
	for spins := 1; theirs.Load() <= int64(i); spins++ {
		if spins%1000 == 0 {
			runtime.Gosched()
		}
	}
}

func TestADrainedTargetStaysDrained(t *testing.T) {
	target := target{changed: make(chan struct{})}
	if !target.claim() {
		t.Fatal("refused")
	}
	target.retire()
	if target.claim() || target.drained() {
		t.Error("a retired target took a claim, or lost the one that it had")
	}
	target.release()
	if target.claim() || !target.drained() {
		t.Error("a drained target is not drained any more")
	}
}
