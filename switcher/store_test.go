package switcher_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/storetest"
)

func TestFileStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Open {
		dir := filepath.Join(t.TempDir(), "made", "when", "missing")
		var open *switcher.FileStore
		t.Cleanup(func() { open.Close() })
		return func(t *testing.T) switcher.Store {
			if open != nil {
				open.Close()
			}
			open = mustOpen(t, dir)
			return open
		}
	})
}

func mustOpen(t *testing.T, dir string) *switcher.FileStore {
	t.Helper()
	s, err := switcher.OpenFileStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// memStore is the other implementation: what the suite says of a file must be
// true of a variable.
type memStore struct{ last *switcher.State }

func (m memStore) Load() (switcher.State, error) { return switcher.Clone(*m.last), nil }

func (m memStore) Save(st switcher.State) error {
	*m.last = switcher.Clone(st)
	m.last.Note = ""
	return nil
}

func TestMemoryStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Open {
		place := &switcher.State{}
		return func(*testing.T) switcher.Store { return memStore{place} }
	})
}

// dir is a state directory that a daemon has left after a switch of backend
// from blue to green.
func stateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	start(t, dir, func(s *switcher.Switcher) {
		r := switcher.Request{Services: []string{"backend"}, To: switcher.Green, Actor: switcher.Actor{User: "root"}}
		if _, _, err := s.Switch(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	})
	return dir
}

func start(t *testing.T, dir string, then func(*switcher.Switcher)) {
	t.Helper()
	if err := tryStart(dir, nil, then); err != nil {
		t.Fatal(err)
	}
}

func tryStart(dir string, assume map[string]switcher.Slot, then func(*switcher.Switcher)) error {
	store, err := switcher.OpenFileStore(dir)
	if err != nil {
		return err
	}
	defer store.Close()
	s, err := switcher.New(switcher.Options{
		Traffic: switcher.NoTraffic{}, Prober: switcher.AllHealthy{}, Store: store, History: switcher.OpenFileHistory(dir),
		Services: []switcher.ServiceConfig{{Name: "backend"}, {Name: "frontend"}}, AssumeActive: assume,
	})
	if err != nil {
		return err
	}
	defer s.Close()
	then(s)
	return nil
}

// damage changes a directory, as an operator or a disk may.
var damages = []struct {
	name   string
	damage func(t *testing.T, dir string)
	// Of a start that goes on: what it says, and where backend is.
	note   string
	active switcher.Slot
	// Of a start that is refused: what it says.
	refusal []string
	unknown bool // the refusal is one that --assume-active gets over
}{
	{
		name: "nothing", damage: func(*testing.T, string) {}, active: switcher.Green,
	},
	{
		name:   "everything is removed",
		damage: func(t *testing.T, dir string) { remove(t, dir, "state.json", "state.previous.json", "history.jsonl") },
		note:   "first start: backend is on blue, frontend is on blue", active: switcher.Blue,
	},
	{
		name:   "the state is removed",
		damage: func(t *testing.T, dir string) { remove(t, dir, "state.json") },
		note:   "state.json is missing: restored from state.previous.json, generation 1 and 1 later operations in the history", active: switcher.Green,
	},
	{
		name:   "state and history are removed",
		damage: func(t *testing.T, dir string) { remove(t, dir, "state.json", "history.jsonl") },
		note:   "state.json is missing: restored from state.previous.json, generation 1: see whether", active: switcher.Blue,
	},
	{
		name: "the state is torn",
		damage: func(t *testing.T, dir string) {
			edit(t, dir, "state.json", func(s string) string { return s[:len(s)/2] })
		},
		note: "state.json is damaged: it is not JSON", active: switcher.Green,
	},
	{
		name:   "the state is empty",
		damage: func(t *testing.T, dir string) { edit(t, dir, "state.json", func(string) string { return "" }) },
		note:   "state.json is damaged: it is not JSON", active: switcher.Green,
	},
	{
		name: "the state was edited",
		damage: func(t *testing.T, dir string) {
			edit(t, dir, "state.json", func(s string) string { return strings.Replace(s, `"active": "green"`, `"active": "blue"`, 1) })
		},
		note: "state.json is damaged: its checksum is wrong, so it was torn or changed by hand", active: switcher.Green,
	},
	{
		name: "the state was indented anew",
		damage: func(t *testing.T, dir string) {
			edit(t, dir, "state.json", func(s string) string { return strings.ReplaceAll(s, "  ", "\t") })
		},
		active: switcher.Green,
	},
	{
		name: "the state and the previous one are damaged",
		damage: func(t *testing.T, dir string) {
			edit(t, dir, "state.json", func(string) string { return "{}" })
			edit(t, dir, "state.previous.json", func(string) string { return "\x00\x00" })
		},
		refusal: []string{"state.json is damaged: it has no format", "state.previous.json is damaged: it is not JSON",
			"look at both slots", "--assume-active backend=blue,frontend=blue` (each", "the newest switch in the history moved backend to green at 20"},
		unknown: true,
	},
	{
		name: "only the history is left",
		damage: func(t *testing.T, dir string) {
			remove(t, dir, "state.json", "state.previous.json")
		},
		refusal: []string{"state.json is missing, and state.previous.json is missing", "moved backend to green"}, unknown: true,
	},
	{
		name: "a newer version wrote the state",
		damage: func(t *testing.T, dir string) {
			edit(t, dir, "state.json", func(s string) string { return strings.Replace(s, `"format": 1`, `"format": 2`, 1) })
		},
		refusal: []string{"written by a newer charactier-proxy: its format is 2 and this program knows 1", "--assume-active"}, unknown: true,
	},
	{
		name:    "others may write the state",
		damage:  func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, "state.json"), 0o666) },
		refusal: []string{"state.json is writable by others than its owner (mode 0666): `chmod go-w ", "state.json`"},
	},
	{
		name:    "the group may write the directory",
		damage:  func(t *testing.T, dir string) { chmod(t, dir, 0o770) },
		refusal: []string{"is writable by others than its owner (mode 0770): `chmod go-w "},
	},
	{
		name: "the state belongs to somebody else",
		damage: func(t *testing.T, dir string) {
			chown(t, filepath.Join(dir, "state.json"))
		},
		refusal: []string{"state.json belongs to 4711 and this program runs as root: run it as 4711 (`runuser -u 4711 -- ...`), or `chown root "},
	},
	{
		name:    "the directory belongs to somebody else",
		damage:  func(t *testing.T, dir string) { chown(t, dir) },
		refusal: []string{"state belongs to 4711 and"},
	},
	{
		name: "the state is a symbolic link",
		damage: func(t *testing.T, dir string) {
			move(t, filepath.Join(dir, "state.json"), filepath.Join(dir, "elsewhere"))
			if err := os.Symlink("elsewhere", filepath.Join(dir, "state.json")); err != nil {
				t.Fatal(err)
			}
		},
		refusal: []string{"state.json is a symbolic link"},
	},
	{
		name: "the state is a directory",
		damage: func(t *testing.T, dir string) {
			remove(t, dir, "state.json")
			if err := os.Mkdir(filepath.Join(dir, "state.json"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
		refusal: []string{"state.json is not a regular file"},
	},
	{
		name: "an older state was put back",
		damage: func(t *testing.T, dir string) {
			remove(t, dir, "state.json")
			move(t, filepath.Join(dir, "state.previous.json"), filepath.Join(dir, "state.json"))
		},
		note:   "state.json is of generation 1 and older than the history, as if a copy had been put back: restored with 1 later operation in the history, up to generation 3",
		active: switcher.Green,
	},
	{
		name: "an older state was put back and the history is gone",
		damage: func(t *testing.T, dir string) {
			remove(t, dir, "state.json", "history.jsonl")
			move(t, filepath.Join(dir, "state.previous.json"), filepath.Join(dir, "state.json"))
		},
		active: switcher.Blue,
	},
	{
		name: "the history has later operations that were not done",
		damage: func(t *testing.T, dir string) {
			edit(t, dir, "history.jsonl", func(done string) string {
				done, _, _ = strings.Cut(done, "\n")
				later := strings.NewReplacer(`"generation":3`, `"generation":99`, `"to":"green"`, `"to":"blue"`).Replace(done)
				if later == done {
					t.Fatalf("the history is not what it was: %s", done)
				}
				all := done + "\n"
				for _, outcome := range []string{"failed", "interrupted"} {
					all += strings.NewReplacer(`"outcome":"done"`, `"outcome":"`+outcome+`"`, `"id":"`, `"id":"`+outcome).Replace(later) + "\n"
				}
				return all
			})
		},
		active: switcher.Green,
	},
	{
		name:   "an unfinished file is left",
		damage: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "state.json.tmp"), "{") },
		active: switcher.Green,
	},
	{
		name: "the last line of the history is torn off",
		damage: func(t *testing.T, dir string) {
			edit(t, dir, "history.jsonl", func(s string) string { return s[:20] })
		},
		active: switcher.Green,
	},
}

func TestWhatAStartMakesOfADamagedDirectory(t *testing.T) {
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			dir := stateDir(t)
			c.damage(t, dir)
			err := tryStart(dir, nil, func(s *switcher.Switcher) {
				if c.note == "" && s.Note() != "" || !strings.Contains(s.Note(), c.note) {
					t.Errorf("note is %q, want %q", s.Note(), c.note)
				}
				if active, _ := s.Routing(); active["backend"] != c.active {
					t.Errorf("active is %v, want backend on %s", active, c.active)
				}
			})
			if len(c.refusal) > 0 {
				wantRefusal(t, dir, err, c.refusal, c.unknown)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			start(t, dir, func(s *switcher.Switcher) {
				if s.Note() != "" {
					t.Errorf("the next start still says %q", s.Note())
				}
				if active, _ := s.Routing(); active["backend"] != c.active {
					t.Errorf("active is %v after one more start, want backend on %s", active, c.active)
				}
			})
			if glob(t, dir, "*.tmp") != nil {
				t.Error("the unfinished file is still there")
			}
		})
	}
}

// wantRefusal asserts what a refused start says, and that the way out that it
// names is one.
func wantRefusal(t *testing.T, dir string, err error, says []string, unknown bool) {
	t.Helper()
	if err == nil {
		t.Fatal("the start was not refused")
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("refusal is %q, want it to contain %q", err, text)
		}
	}
	if errors.Is(err, switcher.ErrStateUnknown) != unknown {
		t.Errorf("refusal is %v, to be got over by an assumption: %t", err, unknown)
	}
	both := map[string]switcher.Slot{"backend": switcher.Green, "frontend": switcher.Blue}
	assumed := tryStart(dir, both, func(s *switcher.Switcher) {
		if active, _ := s.Routing(); active["backend"] != switcher.Green || active["frontend"] != switcher.Blue {
			t.Errorf("assumed %v", active)
		}
		if last := s.Last(); last.Kind != switcher.KindAssumeActive || !last.Forced || last.Outcome != switcher.Done || last.Took <= 0 {
			t.Errorf("last is %+v", last)
		}
	})
	if !unknown {
		if assumed == nil {
			t.Error("an assumption got over a refusal that is not about the state")
		}
		return
	}
	if assumed != nil {
		t.Fatalf("assuming: %v", assumed)
	}
	start(t, dir, func(s *switcher.Switcher) {
		if active, _ := s.Routing(); active["backend"] != switcher.Green || s.Note() != "" {
			t.Errorf("after the assumption: %v, %q", active, s.Note())
		}
	})
	// A second start with the flag left in place must not turn the clock back.
	if err := tryStart(dir, map[string]switcher.Slot{"backend": switcher.Blue, "frontend": switcher.Blue}, func(s *switcher.Switcher) {
		if active, _ := s.Routing(); active["backend"] != switcher.Green {
			t.Errorf("an assumption that is not needed moved traffic: %v", active)
		}
		if !strings.Contains(strings.Join(s.Warnings(), ""), "--assume-active was not used") {
			t.Errorf("warnings are %q", s.Warnings())
		}
	}); err != nil {
		t.Error(err)
	}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	dir := stateDir(t)
	edit(t, dir, "state.json", func(string) string { return "evidence" })
	start(t, dir, func(*switcher.Switcher) {})
	aside := glob(t, dir, "state.json.damaged-*")
	if len(aside) != 1 {
		t.Fatalf("set aside: %v", aside)
	}
	if got, _ := os.ReadFile(aside[0]); string(got) != "evidence" {
		t.Errorf("it holds %q", got)
	}
}

func TestAnAssumptionNamesEveryService(t *testing.T) {
	for _, c := range []struct {
		assume map[string]switcher.Slot
		says   string
	}{
		{map[string]switcher.Slot{"backend": switcher.Blue}, "frontend is missing: name every service, as in --assume-active backend=blue,frontend=blue (each blue or green)"},
		{map[string]switcher.Slot{"backend": switcher.Blue, "frontend": "red"}, `unknown slot "red"`},
		{map[string]switcher.Slot{"backend": switcher.Blue, "frontend": switcher.Blue, "x": switcher.Blue}, `unknown service "x"`},
	} {
		dir := stateDir(t)
		remove(t, dir, "state.json", "state.previous.json")
		err := tryStart(dir, c.assume, func(*switcher.Switcher) {})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: error is %v, want %q", c.assume, err, c.says)
		}
		if glob(t, dir, "state*.json") != nil {
			t.Errorf("%v: a state was saved", c.assume)
		}
	}
}

// TestAnAssumptionIsNewerThanAllHistory loses the state twice: what happened
// before the assumption must not correct what comes after it.
func TestAnAssumptionIsNewerThanAllHistory(t *testing.T) {
	dir := stateDir(t) // backend was switched to green
	remove(t, dir, "state.json", "state.previous.json")
	both := map[string]switcher.Slot{"backend": switcher.Blue, "frontend": switcher.Blue}
	if err := tryStart(dir, both, func(s *switcher.Switcher) {
		if _, err := s.Hold(t.Context(), switcher.Request{}); err != nil {
			t.Fatal(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	remove(t, dir, "state.json")
	start(t, dir, func(s *switcher.Switcher) {
		active, held := s.Routing()
		if active["backend"] != switcher.Blue || !held["backend"] {
			t.Errorf("active is %v, held %v; want the assumption and the hold after it", active, held)
		}
	})
}

func TestASecondDaemonIsRefusedNamingTheFirst(t *testing.T) {
	dir := t.TempDir()
	first := mustOpen(t, dir)
	_, err := switcher.OpenFileStore(dir)
	if err == nil || !strings.Contains(err.Error(), "another charactier-proxy uses it, process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("error is %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := mustOpen(t, dir)
	defer second.Close()
}

func TestTheStateIsReadWithoutTheDaemon(t *testing.T) {
	dir := stateDir(t)
	holder := mustOpen(t, dir)
	defer holder.Close()
	st, err := switcher.ReadState(dir)
	if err != nil || st.Services["backend"].Active != switcher.Green {
		t.Errorf("state is %+v, error %v", st, err)
	}
	if rs, err := switcher.ReadHistory(dir, 5); err != nil || len(rs) != 1 {
		t.Errorf("history is %+v, error %v", rs, err)
	}
	if _, err := switcher.ReadState(filepath.Join(dir, "none")); err != nil {
		t.Errorf("where there is nothing: %v", err)
	}
}

func TestTheChecksumIsThatOfCommonTools(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		t.Fatal("jq is not installed: apt-get install jq")
	}
	dir := filepath.Join(t.TempDir(), "state")
	s := mustOpen(t, dir)
	defer s.Close()
	st := storetest.Sample(1)
	st.Services["frontend"].Held.Reason = "<データ移行> & \"more\"" // of U+2028, Go and jq think differently
	if err := s.Save(st); err != nil {
		t.Fatal(err)
	}
	script := `test "$(jq -cj .state "$1" | sha256sum | cut -d' ' -f1)" = "$(jq -r .sha256 "$1")"`
	if out, err := exec.Command("sh", "-c", script, "sh", filepath.Join(dir, "state.json")).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func remove(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func edit(t *testing.T, dir, name string, change func(string) string) {
	t.Helper()
	path := filepath.Join(dir, name)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, change(string(raw)))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// chown needs root; without it no file of somebody else can be made.
func chown(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can give a file away")
		}
		t.Skip("only root can give a file away")
	}
	if err := os.Chown(path, 4711, -1); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
