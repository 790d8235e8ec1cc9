package logs

import (
	"context"
	"time"
)

// window is how long a line waits for others that are older and still on their
// way.
const window = 200 * time.Millisecond

// waiting is a line that has not been told yet.
type waiting struct {
	line    Line
	arrived time.Time
}

// reorder tells lines in the order of their times, as far as they arrive within
// a window. When ctx ends it tells what is left.
func reorder(ctx context.Context, lines <-chan Line, emit func(Line) error) error {
	tick := time.NewTicker(window / 4)
	defer tick.Stop()
	var held []waiting
	for {
		select {
		case l := <-lines:
			held = insert(held, waiting{l, time.Now()})
			continue
		case <-tick.C:
		case <-ctx.Done():
			if _, err := tell(held, len(held), emit); err != nil {
				return err
			}
			return context.Cause(ctx)
		}
		var err error
		if held, err = tell(held, due(held, time.Now().Add(-window)), emit); err != nil {
			return err
		}
	}
}

// insert keeps the lines in the order of their times, and those of one time in
// the order in which they came.
func insert(held []waiting, w waiting) []waiting {
	i := len(held)
	for i > 0 && w.line.Time.Before(held[i-1].line.Time) {
		i--
	}
	held = append(held, waiting{})
	copy(held[i+1:], held[i:])
	held[i] = w
	return held
}

// due is how many lines have to be told so that none waits that arrived before.
func due(held []waiting, before time.Time) int {
	for i := len(held); i > 0; i-- {
		if !held[i-1].arrived.After(before) {
			return i
		}
	}
	return 0
}

func tell(held []waiting, n int, emit func(Line) error) ([]waiting, error) {
	for _, w := range held[:n] {
		if err := emit(w.line); err != nil {
			return held, err
		}
	}
	return held[n:], nil
}
