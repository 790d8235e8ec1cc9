package proxy

import (
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestOneThatTakesAllLeavesTheOthersTheirs(t *testing.T) {
	r := NewRoom(100)
	greedy, modest := r.join(), r.join()
	n := 0
	for greedy.take() {
		n++
	}
	if n != 75 {
		t.Errorf("one of two took %d of 100, want 75", n)
	}
	for i := range 25 {
		if !modest.take() {
			t.Fatalf("the other got %d, want 25", i)
		}
	}
	if modest.take() || greedy.take() {
		t.Error("there were more than 100")
	}
	greedy.give()
	if !modest.take() {
		t.Error("what was given back is nobody's")
	}
}

func TestWhoHasGoneKeepsNothingForItself(t *testing.T) {
	r := NewRoom(10)
	one, gone := r.join(), r.join()
	gone.take()
	gone.part()
	for range 9 {
		one.take()
	}
	gone.give()
	if !one.take() || len(r.shares) != 1 {
		t.Errorf("%d parties are left", len(r.shares))
	}
	if full, again := one.takeOrWait(); full {
		t.Error("there were 11")
	} else {
		one.give()
		<-again
	}
}

func TestARoomNeverHoldsMoreThanItsNumber(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 30).Draw(t, "total")
		r := NewRoom(total)
		shares := []*roomShare{r.join(), r.join(), r.join()}
		used := 0
		for range 200 {
			s := shares[rapid.IntRange(0, 2).Draw(t, "who")]
			switch {
			case rapid.Bool().Draw(t, "takes"):
				own := s.used < total/2/3
				got := s.take()
				if got {
					used++
				}
				if own && !got {
					t.Fatalf("%d of its own %d were taken by others", s.used, total/2/3)
				}
			case s.used > 0:
				s.give()
				used--
			}
			if used > total {
				t.Fatalf("%d of %d", used, total)
			}
		}
	})
}

// Nobody who waits is forgotten.
func TestWhoWaitsForRoomGetsIt(t *testing.T) {
	r := NewRoom(2)
	var waiters sync.WaitGroup
	for range 8 {
		s := r.join()
		waiters.Go(func() {
			for range 200 {
				for {
					ok, again := s.takeOrWait()
					if ok {
						break
					}
					<-again
				}
				s.give()
			}
		})
	}
	waiters.Wait()
}
