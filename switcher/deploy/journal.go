package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"charactier-proxy/switcher"
)

// phase is where a step is, or the whole deploy.
type phase string

const (
	phaseBegin   phase = "begin" // of the deploy
	phaseDoing   phase = "doing"
	phaseDone    phase = "done"
	phaseFailed  phase = "failed"
	phaseUndoing phase = "undoing"
	phaseUndone  phase = "undone"
	phaseEnd     phase = "end" // of the deploy
)

// entry is one line of a journal. What happens after it has happened only once
// it is on disk.
type entry struct {
	Time    time.Time        `json:"time"`
	Phase   phase            `json:"phase"`
	Step    string           `json:"step,omitempty"`
	Hook    string           `json:"hook,omitempty"` // with doing, done and failed, instead of the step
	Error   string           `json:"error,omitempty"`
	Request *Request         `json:"request,omitempty"` // with begin
	By      *switcher.Actor  `json:"by,omitempty"`      // with begin
	Facts   *facts           `json:"facts,omitempty"`   // with doing and done
	Outcome switcher.Outcome `json:"outcome,omitempty"` // with end
	Record  *switcher.Record `json:"record,omitempty"`  // with end
}

// journal is the record of one deploy.
type journal struct {
	dir  string // its own, with the logs beside; empty where there is none
	id   string
	file *os.File // nil for one that is kept in memory only
	torn bool     // the last line may lack its end
	// gaps: a line is missing, and the deploy went on.
	gaps bool
}

// createJournal makes a new deploy's directory and its first line.
func createJournal(deploys, id string, first entry) (*journal, error) {
	dir := filepath.Join(deploys, id)
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
		return nil, fmt.Errorf("making the journal's directory: %w", err)
	}
	j, err := openJournal(deploys, id)
	if err == nil {
		err = errors.Join(j.file.Chmod(0o644), syncDir(deploys), syncDir(dir), j.write(first))
	}
	if err != nil {
		_ = os.RemoveAll(dir) // half a line tells of no deploy
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// openJournal opens one to be gone on with.
func openJournal(deploys, id string) (*journal, error) {
	dir := filepath.Join(deploys, id)
	f, err := os.OpenFile(journalIn(deploys, id), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the journal: %w", err)
	}
	j := &journal{dir: dir, id: id, file: f}
	if j.torn, err = endsTorn(f); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the journal: %w", err), f.Close())
	}
	return j, nil
}

// endsTorn reports whether a crash cut the last line short. Nothing is written
// yet: an abort must be possible on a disk that is full.
func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return last[0] != '\n', err
}

// write appends a line and returns once it is on disk.
func (j *journal) write(e entry) error {
	if j.file == nil {
		return nil
	}
	e.Time = time.Now().UTC()
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding a line of the journal: %w", err)
	}
	if j.torn {
		line = append([]byte{'\n'}, line...) // so that this one stands alone
	}
	_, err = j.file.Write(append(line, '\n'))
	if j.torn = err != nil; err != nil {
		return fmt.Errorf("%w: %w", errUnwritten, err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("%w to disk: %w", errUnwritten, err)
	}
	return nil
}

// kept reports whether all that happened is on disk.
func (j *journal) kept() bool { return j.file != nil && !j.gaps }

func (j *journal) close() error {
	if j == nil || j.file == nil {
		return nil
	}
	return j.file.Close()
}

// story is what a journal tells.
type story struct {
	id      string
	request Request
	by      switcher.Actor
	begun   time.Time
	facts   facts
	// last is the newest line about each step; order is that of the first lines.
	last  map[string]phase
	order []string
	// hooks is the newest line about each hook, for as long as its step is not undone.
	hooks map[string]phase
	ended bool
}

func newStory(id string) story {
	return story{id: id, last: map[string]phase{}, hooks: map[string]phase{}}
}

// readStory reads a journal. Lines that a crash cut short say nothing.
func readStory(deploys, id string) (story, error) {
	data, err := os.ReadFile(journalIn(deploys, id))
	if err != nil {
		return story{}, fmt.Errorf("reading the journal: %w", err)
	}
	s := newStory(id)
	for line := range bytes.Lines(data) {
		var e entry
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		s.take(e)
	}
	return s, nil
}

func (s *story) take(e entry) {
	if e.Facts != nil {
		s.facts = *e.Facts
	}
	if e.Hook != "" {
		s.hooks[e.Hook] = e.Phase
		return
	}
	switch e.Phase {
	case phaseBegin:
		s.begun = e.Time
		if e.Request != nil {
			s.request = *e.Request
		}
		if e.By != nil {
			s.by = *e.By
		}
	case phaseEnd:
		s.ended = true
	default:
		if _, known := s.last[e.Step]; !known {
			s.order = append(s.order, e.Step)
		}
		s.last[e.Step] = e.Phase
		if e.Phase == phaseUndone {
			maps.DeleteFunc(s.hooks, func(hook string, _ phase) bool { return isHookOf(hook, e.Step) })
		}
	}
}

// at is the step that the deploy was in, for people.
func (s *story) at() string {
	if len(s.order) == 0 {
		return "its beginning"
	}
	step := s.order[len(s.order)-1]
	return fmt.Sprintf("%s (%s)", step, s.last[step])
}

// touched reports whether a step may have changed something.
func (s *story) touched(step string) bool {
	p, known := s.last[step]
	return known && p != phaseUndone
}

// unfinished returns the story of the newest deploy that has no end. All are
// looked at, for a clock that was set back makes names lie about their order.
func unfinished(deploys string) (*story, error) {
	ids, err := deployIDs(deploys)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Backward(ids) {
		if ended(journalIn(deploys, id)) {
			continue
		}
		s, err := readStory(deploys, id)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if !s.ended && !s.begun.IsZero() {
			return &s, nil
		}
	}
	return nil, nil
}

// maxEnd is more than a journal's last line has.
const maxEnd = 64 << 10

// ended reports whether a journal's last line is its end, without reading the
// rest. Where it cannot tell, it has not.
func ended(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false
	}
	tail := make([]byte, min(info.Size(), maxEnd))
	if _, err := f.ReadAt(tail, info.Size()-int64(len(tail))); err != nil {
		return false
	}
	lines := bytes.Split(bytes.TrimRight(tail, "\n"), []byte("\n"))
	var last entry
	return json.Unmarshal(lines[len(lines)-1], &last) == nil && last.Phase == phaseEnd
}

// keepDeploys is how many deploys' directories are kept.
const keepDeploys = 50

// deployIDs lists the deploys, oldest first.
func deployIDs(deploys string) ([]string, error) {
	entries, err := os.ReadDir(deploys)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the deploys: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// forgetDeploys removes the oldest ones beyond keepDeploys, but neither this one,
// which a clock that was set back may have made the oldest, nor what is
// unfinished.
func forgetDeploys(deploys, this string) error {
	ids, err := deployIDs(deploys)
	for _, id := range ids[:max(0, len(ids)-keepDeploys)] {
		if id != this && ended(journalIn(deploys, id)) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(deploys, id)))
		}
	}
	return err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
