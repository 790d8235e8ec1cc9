package proxy

import (
	"testing"
	"time"
)

func TestAgesAreThoseOfWhatIsOpen(t *testing.T) {
	began := time.Now()
	a := &ages{since: began}
	at := func(d time.Duration) time.Time { return began.Add(d) }
	for _, d := range []time.Duration{0, 100 * time.Millisecond, 5 * time.Second, 9 * time.Second} {
		a.begin(at(d))
	}
	a.end(at(100 * time.Millisecond))
	for _, c := range []struct {
		now, above time.Duration
		want       uint64
	}{
		{500 * time.Millisecond, 0, 0},
		{9900 * time.Millisecond, 0, 2}, // the newest is too young to be told
		{9900 * time.Millisecond, 5 * time.Second, 1},
		{9900 * time.Millisecond, time.Minute, 0},
		{(agesSpan - 1) * time.Second, 10 * time.Minute, 3},
	} {
		if got := a.snapshot(at(c.now)).Above(c.above); got != c.want {
			t.Errorf("after %s %d have been open for more than %s, want %d", c.now, got, c.above, c.want)
		}
	}
	for _, d := range []time.Duration{0, 5 * time.Second, 9 * time.Second} {
		a.end(at(d))
	}
	if n := a.snapshot(at(time.Minute)).Count(); n != 0 {
		t.Errorf("%d are open after all have ended", n)
	}
}

// openNow is what has been counted in and not out.
func openNow(a *ages) (n int64) {
	for i := range a.begun {
		n += a.begun[i].Load()
	}
	return n
}
