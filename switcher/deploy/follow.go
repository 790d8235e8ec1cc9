package deploy

import (
	"bufio"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const followEvery = 50 * time.Millisecond

// followFile gives say what is appended to a file from now on, line by line,
// until the function that it returns is called; that one gives it the rest.
func followFile(path string, say func(string)) (stop func()) {
	var from int64
	if info, err := os.Stat(path); err == nil {
		from = info.Size()
	}
	done := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		f := &follower{path: path, offset: from, say: say}
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		for {
			f.read()
			select {
			case <-tick.C:
			case <-done:
				f.read()
				f.flush()
				return
			}
		}
	})
	return sync.OnceFunc(func() { close(done); reading.Wait() })
}

// keepLines is how much of a command's output is told again when it fails.
const keepLines = 20

// lastLines are the newest lines of an output. They may be added by one
// goroutine and read by another.
type lastLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *lastLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == keepLines {
		l.lines = l.lines[1:]
	}
	l.lines = append(l.lines, line)
}

func (l *lastLines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// longestLine is what a line is cut into that is longer: a command may print for
// ever without ending one, and its limits are none of ours.
const longestLine = 16 << 10

// follower remembers how far a file was read. What cannot be read is left to
// the file: it is there for whoever looks.
type follower struct {
	path    string
	offset  int64
	partial strings.Builder // a line without its end
	say     func(string)
}

func (f *follower) read() {
	file, err := os.Open(f.path)
	if err != nil {
		return
	}
	defer file.Close()
	if _, err := file.Seek(f.offset, io.SeekStart); err != nil {
		return
	}
	lines := bufio.NewReaderSize(file, longestLine)
	for {
		text, err := lines.ReadSlice('\n')
		f.offset += int64(len(text))
		f.partial.Write(text)
		switch {
		case err == nil, f.partial.Len() >= longestLine:
			f.flush()
		case !errors.Is(err, bufio.ErrBufferFull):
			return
		}
	}
}

func (f *follower) flush() {
	if line := strings.TrimRight(f.partial.String(), "\r\n"); line != "" {
		f.say(line)
	}
	f.partial.Reset()
}
