package switcher

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// restore decides what to do about a state file that cannot be used; cause says
// why. It never guesses: where the previous state cannot tell either, the
// operator has to.
func restore(d disk, dir string, cause error) (State, error) {
	switch {
	case errors.Is(cause, fs.ErrNotExist):
		virgin, err := isVirgin(d, dir)
		if err != nil || virgin {
			return State{}, err
		}
		cause = fmt.Errorf("%s is missing", filepath.Join(dir, stateName))
	case errors.Is(cause, errFuture):
		return State{}, unknown(d, dir, fmt.Errorf("%w; start that one again, or decide yourself", cause))
	case !errors.Is(cause, errDamaged):
		return State{}, cause
	}
	st, _, err := readState(d, filepath.Join(dir, previousName))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s is missing", previousName)
	}
	if err != nil {
		return State{}, unknown(d, dir, fmt.Errorf("%w, and %w", cause, err))
	}
	from := fmt.Sprintf("%v: restored from %s, generation %d", cause, previousName, st.Generation)
	if n := replay(&st, records(d, dir, wholeHistory)); n > 0 {
		from += fmt.Sprintf(" and %d later operations in the history", n)
	}
	st.Note = from + ": see whether the active slot is the right one"
	return st, nil
}

// catchUp brings a state up to date that is sound but older than the history, as
// a copy is that somebody put back. An operation is entered as done only once
// its state is saved, or traffic follows it in spite of that; so one of a later
// generation says that the file is not the last word. Records of another
// outcome say nothing: the daemon may have died before their state was saved.
func catchUp(d disk, dir string, st State) State {
	later := func(r Record) bool { return r.Outcome == Done && r.Generation > st.Generation }
	if !slices.ContainsFunc(records(d, dir, mendDepth), later) {
		return st
	}
	was := st.Generation
	st = st.clone()
	n := replay(&st, records(d, dir, wholeHistory))
	// Operations came after the one that was intended, so it has ended.
	st.Intent = nil
	st.Note = fmt.Sprintf("%s is of generation %d and older than the history, as if a copy had been put back: restored with %s in the history, up to generation %d: see whether the active slot is the right one",
		filepath.Join(dir, stateName), was, counted(int64(n), "later operation"), st.Generation)
	return st
}

// isVirgin reports that no state was ever saved in dir.
func isVirgin(d disk, dir string) (bool, error) {
	names, err := d.list(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return !slices.ContainsFunc(names, func(name string) bool {
		ours := strings.HasPrefix(name, "state.") || strings.HasPrefix(name, historyName)
		return ours && !strings.HasSuffix(name, tempSuffix)
	}), err
}

// unknown is the error that leaves the decision to the operator, with what the
// history knows.
func unknown(d disk, dir string, cause error) error {
	hint := "the history does not know either"
	all := records(d, dir, wholeHistory)
	if i := slices.IndexFunc(all, func(r Record) bool { return r.Outcome == Done && len(r.Moves) > 0 }); i >= 0 {
		hint = fmt.Sprintf("the newest switch in the history moved %s at %s", describe(all[i].Moves), all[i].Started.Format(time.RFC3339))
	}
	return fmt.Errorf("%w: %w; %s", ErrStateUnknown, cause, hint)
}

// wholeHistory is more operations than the files of a history hold.
const wholeHistory = 1 << 20

// records returns the newest n operations that can be read, newest first.
func records(d disk, dir string, n int) []Record {
	h := FileHistory{dir: dir, disk: d}
	// A history that cannot be read corrects nothing.
	rs, _ := h.Tail(n)
	return rs
}

// replay brings a previous state up to date with the operations that came
// after it, and returns how many those were. The state's own number is that of
// the newest.
func replay(st *State, newestFirst []Record) int {
	n := 0
	for _, r := range slices.Backward(newestFirst) {
		if r.Generation <= st.Generation || checkMoves(r.Moves) != nil {
			continue
		}
		n++
		st.Generation = r.Generation
		st.redo(r)
	}
	return n
}

// movesFromHere is what is left of recorded moves. They begin where the state
// is, since records may be missing in between.
func (s State) movesFromHere(recorded []Move) []Move {
	var moves []Move
	for _, m := range recorded {
		if from := s.Services[m.Service].Active; from != m.To {
			m.From = from
			moves = append(moves, m)
		}
	}
	return moves
}

// redo makes of the state what a recorded operation made of it.
func (s State) redo(r Record) {
	if r.Outcome != Done {
		return
	}
	at := r.Started.Add(r.Took)
	s.move(s.movesFromHere(r.Moves), r, r.Generation, at)
	for _, name := range r.Services {
		svc, known := s.Services[name]
		switch {
		case !known:
			continue
		case r.Kind == KindHold:
			svc.Held = &Held{Since: at, Reason: r.Reason, Actor: r.Actor}
		case r.Kind == KindReleaseHold:
			svc.Held = nil
		}
		s.Services[name] = svc
	}
}
