package switcher

import (
	"fmt"
	"slices"
	"sync"
)

// ledger writes the history. What the history lost never undoes what was done:
// it is a warning, and is made good as soon as the history can be written
// again.
type ledger struct {
	history History
	warn    func(text string)

	mu      sync.Mutex
	owed    []entry // not written, oldest first
	doubt   bool    // the oldest of them may have been written nevertheless
	dropped int
}

// entry is a record, or what amends one.
type entry struct {
	Record
	amends bool
}

func (e entry) write(h History) error {
	if e.amends {
		return h.Amend(e.Record)
	}
	return h.Append(e.Record)
}

// maxOwed bounds what is remembered of a history that cannot be written.
const maxOwed = 256

// append adds an operation, after what is owed, and amend what became of its
// drain or its bake.
func (l *ledger) append(r Record) { l.add(entry{Record: r}) }
func (l *ledger) amend(r Record)  { l.add(entry{r, true}) }

func (l *ledger) add(e entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.owed) == maxOwed {
		l.owed, l.doubt = l.owed[1:], false
		l.dropped++
	}
	l.owed = append(l.owed, e)
	if err := l.settleLocked(); err != nil {
		l.doubt = true
		l.warn(fmt.Sprintf("the history misses %s, the first is %s of %s: %v",
			counted(int64(len(l.owed)+l.dropped), "record"), l.owed[0].ID, l.owed[0].summary(), err))
		return
	}
	l.warn("")
}

func (l *ledger) settleLocked() error {
	if l.doubt {
		tail, err := l.history.Tail(mendDepth)
		if err != nil {
			return err
		}
		if contains(tail, l.owed[0].Record) {
			l.owed = l.owed[1:]
		}
		l.doubt = false
	}
	for len(l.owed) > 0 {
		if err := l.owed[0].write(l.history); err != nil {
			return err
		}
		l.owed = l.owed[1:]
	}
	return nil
}

// contains reports whether the record is in the history, with its drain and
// the end of its bake if it has them.
func contains(tail []Record, r Record) bool {
	return slices.ContainsFunc(tail, func(t Record) bool {
		return t.ID == r.ID && len(t.Drain) >= len(r.Drain) && (t.Bake.final() || !r.Bake.final())
	})
}
