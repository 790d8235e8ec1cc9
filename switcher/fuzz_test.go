package switcher

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// encoded is a state file of the given state.
func encoded(t testing.TB, st State) []byte {
	t.Helper()
	raw, err := encodeState(st)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sealed is a state file with this payload and the right checksum, so that the
// fuzzer gets past it.
func sealed(payload []byte) []byte {
	var compact bytes.Buffer
	compact.WriteString(`{"format":1,"sha256":"` + checksum(payload) + `","state":`)
	compact.Write(payload)
	compact.WriteByte('}')
	return compact.Bytes()
}

func FuzzStateFile(f *testing.F) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	full := encoded(f, State{
		Generation: 7,
		Services:   map[string]ServiceState{"backend": {Active: Green, Previous: Blue, Since: at, Generation: 3}},
		Intent:     &Record{ID: "0000-0000-001", Kind: KindSwitch, Started: at, Moves: []Move{{Service: "backend", From: Green, To: Blue}}},
	})
	f.Add(full)
	f.Add(full[:len(full)/2])
	f.Add([]byte(`{"generation":1,"services":{"backend":{"active":"blue","previous":"blue"}}}`))
	f.Add([]byte(`{"generation":1,"services":{"backend":{"active":"red"}}}`))
	f.Add([]byte(`{"generation":1,"services":{"a":{"active":"blue","active":"green"}}}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, file := range [][]byte{raw, sealed(raw)} {
			st, err := decodeState(file)
			if err != nil {
				continue
			}
			wantSound(t, st)
			again, err := decodeState(encoded(t, st))
			if err != nil {
				t.Fatalf("what was read cannot be read again: %v", err)
			}
			if diff := cmp.Diff(st, again, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("read, written and read again:\n%s", diff)
			}
		}
	})
}

// wantSound asserts that a start from st has one active slot for each service.
func wantSound(t *testing.T, st State) {
	t.Helper()
	disk := newMemDisk(&faults{})
	store := &FileStore{dir: "state", disk: disk}
	if err := store.Save(st); err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Traffic: NoTraffic{}, Prober: AllHealthy{}, Store: store, History: openFileHistory(disk, "state"), Services: twoServices})
	if err != nil {
		t.Fatalf("a state that was read cannot be started from: %v", err)
	}
	defer s.Close()
	active, _ := s.Routing()
	for _, c := range twoServices {
		if _, err := ParseSlot(string(active[c.Name])); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	if s.State().Intent != nil {
		t.Error("the intent is still there")
	}
}

func FuzzHistory(f *testing.F) {
	line, err := marshal(drainedRecord(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(line, '\n'))
	f.Add(line[:len(line)/2])
	f.Add([]byte("\n\n{}\nnull\n[]\n\"x\"\n"))
	f.Add([]byte(`{"id":"a"}` + "\n" + `{"id":"a","drain":[{}]}` + "\n" + `{"id":"b","outcome":"done","generation":9,"moves":[{"service":"backend","to":"red"}]}`))
	f.Add([]byte(`{"id":"a","outcome":"done","generation":9,"moves":[{"service":"backend","from":"green","to":"blue"},{"service":"","from":"red","to":"green"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		disk := newMemDisk(&faults{})
		disk.live[historyName] = &inode{data: raw}
		h := openFileHistory(disk, "state")
		before, err := h.Tail(1000)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Append(record(500)); err != nil {
			t.Fatal(err)
		}
		after, err := h.Tail(1000)
		if err != nil || len(after) == 0 || after[0].ID != record(500).ID && len(before) < 1000 {
			t.Errorf("what was appended is not the newest: %+v, %v", after, err)
		}
		wantSoundReplay(t, before)
	})
}

// wantSoundReplay asserts that no history makes a sound state unsound.
func wantSoundReplay(t *testing.T, records []Record) {
	t.Helper()
	st := State{Generation: 1, Services: map[string]ServiceState{"backend": {Active: Blue}}}
	replay(&st, records)
	if err := st.check(); err != nil {
		t.Errorf("replayed: %v", err)
	}
}
