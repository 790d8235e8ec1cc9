package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// tail reads the log of deploys, a line at a time, wherever it is moved to and
// made anew. It looks for news rather than being told: the file may be on any
// file system, and not there yet.
type tail struct {
	path    string
	file    os.FileInfo // that was read last; nil for none
	offset  int64
	partial []byte // a line whose end has not been written
	last    time.Time
}

const (
	// lookEvery is how often there may be news.
	lookEvery = 250 * time.Millisecond
	// maxBacklog is how much of the end of the file is read for a number of lines.
	maxBacklog = 4 << 20
)

// backlog reads what there is. A file that is not there is an empty one.
func (t *tail) backlog(o Options) ([]Line, error) {
	f, err := t.open()
	if f == nil || err != nil {
		return nil, err
	}
	defer f.Close()
	if size := t.file.Size(); o.Lines >= 0 && size > maxBacklog {
		t.offset = size - maxBacklog
	}
	cut := t.offset > 0
	lines, err := t.read(f)
	if cut && len(lines) > 0 {
		lines = lines[1:] // its begin was cut off
	}
	for len(lines) > 0 && lines[0].Time.Before(o.Since) {
		lines = lines[1:]
	}
	return newest(lines, o.Lines), err
}

// follow tells what is written from now on until ctx ends.
func (t *tail) follow(ctx context.Context, emit func(Line) error) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		lines, err := t.news()
		if err != nil {
			return err
		}
		for _, l := range lines {
			if err := emit(l); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// news is what was written since the last look.
func (t *tail) news() ([]Line, error) {
	f, err := t.open()
	if f == nil || err != nil {
		return nil, err
	}
	defer f.Close()
	return t.read(f)
}

// open opens the file where it was left, or at its begin if it is another one
// or was cut.
func (t *tail) open() (*os.File, error) {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the log of deploys: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("reading the log of deploys: %w", err)
	}
	if t.file == nil || !os.SameFile(t.file, info) || info.Size() < t.offset {
		t.offset, t.partial = 0, nil
	}
	t.file = info
	return f, nil
}

func (t *tail) read(f *os.File) ([]Line, error) {
	if _, err := f.Seek(t.offset, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the log of deploys: %w", err)
	}
	var lines []Line
	for r := bufio.NewReader(f); ; {
		raw, err := r.ReadBytes('\n')
		t.offset += int64(len(raw))
		t.partial = append(t.partial, raw...)
		if err == io.EOF {
			return dated(lines, t.file.ModTime()), nil
		}
		if err != nil {
			return lines, fmt.Errorf("reading the log of deploys: %w", err)
		}
		lines = append(lines, t.line(bytes.TrimRight(t.partial, "\r\n")))
		t.partial = nil
	}
}

// line begins with its time; one that does not is of the time before it.
func (t *tail) line(raw []byte) Line {
	stamp, rest, _ := strings.Cut(string(raw), " ")
	at, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return Line{Time: t.last, Source: FromDeploy, Text: string(raw)}
	}
	t.last = at
	return Line{Time: at, Source: FromDeploy, Text: rest}
}

// dated gives lines that stand before any time the next one, or else that of
// the file.
func dated(lines []Line, at time.Time) []Line {
	for i, l := range slices.Backward(lines) {
		if l.Time.IsZero() {
			lines[i].Time = at
		}
		at = lines[i].Time
	}
	return lines
}
