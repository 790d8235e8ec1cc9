package switcher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

const (
	historyName = "history.jsonl"
	historyMax  = 8 << 20 // bytes; then it becomes history.jsonl.1, and that is lost
)

// FileHistory keeps the history as JSON lines in a file that only ever grows,
// until it is moved aside at 8 MiB. Each line is one write and synced. A line
// that a crash tore is passed over and never mixed with the next one.
type FileHistory struct {
	dir  string
	disk disk
	max  int64
	mu   sync.Mutex
}

// OpenFileHistory returns the history in the directory of a [FileStore], which
// must be open, since it has made and checked the directory.
func OpenFileHistory(dir string) *FileHistory { return openFileHistory(osDisk{checked: true}, dir) }

// ReadHistory returns the newest n operations in a directory without taking it,
// newest first.
func ReadHistory(dir string, n int) ([]Record, error) {
	return openFileHistory(osDisk{}, dir).Tail(n)
}

func openFileHistory(d disk, dir string) *FileHistory {
	return &FileHistory{dir: dir, disk: d, max: historyMax}
}

func (h *FileHistory) path() string { return filepath.Join(h.dir, historyName) }

// historyLine is one line of the history.
type historyLine struct {
	Record
	// Amends says that an earlier line of this operation is made complete by what
	// this one has of drain and bake.
	Amends bool `json:"amends,omitempty"`
}

// Append adds the record as one line. After an error the line may be there, in
// part or whole.
func (h *FileHistory) Append(r Record) error { return h.add(historyLine{Record: r}) }

// Amend adds what became of an operation's drain or bake, as Append does.
func (h *FileHistory) Amend(r Record) error { return h.add(historyLine{r, true}) }

func (h *FileHistory) add(l historyLine) error {
	line, err := marshal(l)
	if err != nil {
		return fmt.Errorf("encoding the history: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	size, err := h.write(append(line, '\n'))
	if err != nil {
		return fmt.Errorf("writing %s: %w", h.path(), err)
	}
	if size < h.max {
		return nil
	}
	if err := h.disk.rename(h.path(), h.path()+".1"); err != nil {
		return fmt.Errorf("moving %s aside: %w", h.path(), err)
	}
	return h.disk.syncDir(h.dir)
}

// write appends a line, on a line of its own whatever the file ends with, and
// returns the file's size.
func (h *FileHistory) write(line []byte) (int64, error) {
	f, err := h.disk.grow(h.path())
	if err != nil {
		return 0, err
	}
	size, last, err := f.end()
	if size > 0 && last != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	if err == nil {
		_, err = f.Write(line)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil && size == 0 {
		err = h.disk.syncDir(h.dir)
	}
	return size + int64(len(line)), err
}

// Tail returns the newest n operations, newest first. A line that cannot be
// read is passed over.
func (h *FileHistory) Tail(n int) ([]Record, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := tail{want: n, drains: map[string][]DrainCount{}, bakes: map[string]*BakeResult{}}
	for _, path := range []string{h.path(), h.path() + ".1"} {
		raw, err := h.disk.read(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the history: %w", err)
		}
		t.add(raw)
	}
	return t.records, nil
}

// tail collects records from the end of the history. What amends an operation
// comes after it, so it is met first and kept until the operation shows where it
// belongs.
type tail struct {
	want    int
	records []Record
	drains  map[string][]DrainCount
	bakes   map[string]*BakeResult
}

func (t *tail) add(raw []byte) {
	lines := bytes.Split(raw, []byte("\n"))
	for _, line := range slices.Backward(lines) {
		if len(t.records) >= t.want {
			return
		}
		var l historyLine
		if json.Unmarshal(line, &l) != nil || l.ID == "" {
			continue
		}
		// Drains were recorded without the mark once.
		if l.Amends || len(l.Drain) > 0 {
			t.amend(l.Record)
			continue
		}
		if drain, ok := t.drains[l.ID]; ok {
			l.Drain = drain
		}
		if bake, ok := t.bakes[l.ID]; ok {
			l.Bake = bake
		}
		t.records = append(t.records, l.Record)
	}
}

// amend keeps the newest of what is known.
func (t *tail) amend(r Record) {
	if _, known := t.drains[r.ID]; !known && len(r.Drain) > 0 {
		t.drains[r.ID] = r.Drain
	}
	if _, known := t.bakes[r.ID]; !known && r.Bake.final() {
		t.bakes[r.ID] = r.Bake
	}
}
