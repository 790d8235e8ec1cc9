package config_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/config"
)

// memory is a file whose changes happen at exact times of a synctest bubble.
type memory struct {
	mu     sync.Mutex
	text   string
	events chan struct{}
	// onBegin runs at the start of each vigil; its error is what begin answers.
	onBegin func(nth int) error
	begun   int
	told    []string
}

func (m *memory) read() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text
}

// put changes the file without an event, write with one.
func (m *memory) put(text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text = text
}

func (m *memory) write(text string) {
	m.put(text)
	select {
	case m.events <- struct{}{}:
	default:
	}
}

func (m *memory) tell() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, m.text)
}

func (m *memory) tellings() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.told)
}

func (m *memory) begin() (<-chan struct{}, error) {
	m.begun++
	if m.onBegin == nil {
		return m.events, nil
	}
	return m.events, m.onBegin(m.begun)
}

// watchMemory runs a watch of a file that reads "one" while the script runs, and
// until everything has settled, and returns what the watch told of.
func watchMemory(t *testing.T, m *memory, script func()) (told []string, err error) {
	m.text, m.events = "one", make(chan struct{}, 1)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		err = config.WatchWith(ctx, "one", m.read, m.begin, m.tell)
	})
	synctest.Wait()
	script()
	pass(3 * config.Patience)
	stop()
	running.Wait()
	return m.told, err
}

// pass lets time go by in the bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestWhatIsToldOfAChangingFile(t *testing.T) {
	const soon = config.Quiet / 2
	for _, c := range []struct {
		name   string
		script func(m *memory)
		want   []string
	}{
		{"nothing happens", func(*memory) {}, nil},
		{"a change", func(m *memory) { m.write("two") }, []string{"two"}},
		{"events without a change", func(m *memory) {
			for range 10 {
				m.write("one")
				pass(2 * config.Quiet)
			}
		}, nil},
		{"the same change again", func(m *memory) {
			for range 10 {
				m.write("two")
				pass(2 * config.Quiet)
			}
		}, []string{"two"}},
		{"a burst", func(m *memory) {
			for _, text := range []string{"", "t", "tw", "two"} {
				m.write(text)
				pass(soon)
			}
		}, []string{"two"}},
		{"a change and back within a burst", func(m *memory) {
			m.write("two")
			pass(soon)
			m.write("one")
		}, nil},
		{"two changes", func(m *memory) {
			m.write("two")
			pass(2 * config.Quiet)
			m.write("three")
		}, []string{"two", "three"}},
		{"missing for long and back as it was", func(m *memory) {
			m.write("")
			pass(10 * config.Patience)
			m.write("one")
		}, nil},
		{"missing for long and back with another text", func(m *memory) {
			m.write("")
			pass(10 * config.Patience)
			m.write("two")
		}, []string{"two"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{}
				told, err := watchMemory(t, m, func() { c.script(m) })
				if diff := cmp.Diff(c.want, told); diff != "" || err != nil {
					t.Errorf("told (-want +got), %v:\n%s", err, diff)
				}
			})
		})
	}
}

func TestAChangeIsToldAQuietTimeAfterItsLastEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		_, _ = watchMemory(t, m, func() {
			m.write("two")
			pass(config.Quiet - 1)
			synctest.Wait()
			if m.tellings() > 0 {
				t.Error("told before the quiet time was over")
			}
			pass(1)
			synctest.Wait()
			if m.tellings() != 1 {
				t.Error("not told when the quiet time was over")
			}
		})
	})
}

func TestEndlessEventsDoNotDelayForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		_, _ = watchMemory(t, m, func() {
			for waited := time.Duration(0); waited <= config.Patience; waited += config.Quiet / 2 {
				m.write("two")
				pass(config.Quiet / 2)
			}
			if n := m.tellings(); n != 1 {
				t.Errorf("told %d times within %v of events", n, config.Patience)
			}
		})
	})
}

// Nothing announces what happens while no vigil runs, or while one begins: the
// first look of each has to find it.
func TestAChangeWhileAVigilBeginsIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		m.onBegin = func(nth int) error {
			if nth < 3 {
				m.put([]string{"two", "three"}[nth-1])
			}
			return nil
		}
		told, err := watchMemory(t, m, func() {})
		if diff := cmp.Diff([]string{"two", "three"}, told); diff != "" || err != nil {
			t.Errorf("told (-want +got), %v:\n%s", err, diff)
		}
	})
}

func TestAVigilThatCannotBeginIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		m.onBegin = func(nth int) error {
			if nth == 2 || nth == 3 {
				return errors.New("too many open files")
			}
			return nil
		}
		told, err := watchMemory(t, m, func() {
			m.write("two")
			pass(2 * config.Quiet)
			m.put("three")
			pass(3 * config.Patience)
		})
		if diff := cmp.Diff([]string{"two", "three"}, told); diff != "" || err != nil {
			t.Errorf("told (-want +got), %v:\n%s", err, diff)
		}
	})
}

func TestASystemThatCannotWatchAtAllIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("too many open files")
		m := &memory{onBegin: func(int) error { return refused }}
		if _, err := watchMemory(t, m, func() {}); !errors.Is(err, refused) {
			t.Errorf("WatchSince = %v, want %v", err, refused)
		}
	})
}
