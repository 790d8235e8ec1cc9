package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// killed is how these tests end a transaction in the middle: what is on disk
// then is what kill -9 leaves.
type killed struct{}

// plannedServer is an nginx that goes as planned: a step's error, or killed.
type plannedServer struct {
	test, reload, check error
	died                string // the step at which the process ends
	steps               []string
}

func (s *plannedServer) step(name string, err error) error {
	s.steps = append(s.steps, name)
	if s.died == name {
		panic(killed{})
	}
	return err
}

func (s *plannedServer) Test(context.Context) error   { return s.step("test", s.test) }
func (s *plannedServer) Reload(context.Context) error { return s.step("reload", s.reload) }
func (s *plannedServer) Check(context.Context) error  { return s.step("check", s.check) }

// twoFiles are two services' upstreams in a file each.
type twoFiles struct {
	t       *testing.T
	dir     string
	store   *migrateStore
	changes []change
}

const (
	firstBefore  = "upstream a { server 127.0.0.1:5000; }\n"
	firstAfter   = "upstream a { server 127.0.0.1:5080; keepalive 32; }\n"
	secondBefore = "upstream b {\n  server 127.0.0.1:3000;\n}\n"
	secondAfter  = "upstream b {\n  server 127.0.0.1:3080;\n  keepalive 32;\n}\n"
)

func newTwoFiles(t *testing.T) *twoFiles {
	t.Helper()
	w := &twoFiles{t: t, dir: t.TempDir()}
	w.store = &migrateStore{dir: filepath.Join(w.dir, "backups"), uid: os.Geteuid(), now: time.Now}
	w.write("first", firstBefore)
	w.write("second", secondBefore)
	for name, to := range map[string]string{"first": "127.0.0.1:5080", "second": "127.0.0.1:3080"} {
		file, err := readNginxFile(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		u := file.conf.Upstreams()[0]
		p := place{control.ServiceStatus{Name: u.Name}, file, u}
		w.changes = append(w.changes, change{p, to, u.PointTo(to, true)})
	}
	unlock, err := w.store.lock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	return w
}

func (w *twoFiles) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o640); err != nil {
		w.t.Fatal(err)
	}
}

// hold wants the files to hold these texts, and nothing to lie beside them.
func (w *twoFiles) hold(first, second string) {
	w.t.Helper()
	for name, want := range map[string]string{"first": first, "second": second} {
		if got, err := os.ReadFile(filepath.Join(w.dir, name)); err != nil || string(got) != want {
			w.t.Errorf("%s holds %q, %v; want %q", name, got, err, want)
		}
	}
	if entries, err := os.ReadDir(w.dir); err != nil || len(entries) != 3 {
		w.t.Errorf("the directory holds %v, %v", entries, err)
	}
}

// run makes the changes and reports whether the process was killed.
func (w *twoFiles) run(s *plannedServer) (err error, died bool) {
	w.t.Helper()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case killed:
			died = true
		default:
			panic(r)
		}
	}()
	tx := &transaction{w.store, s, w.t.Logf}
	_, err = tx.run(w.t.Context(), kindMigrate, w.changes)
	return err, false
}

func (w *twoFiles) newest() migrationRecord {
	w.t.Helper()
	records, err := w.store.records()
	if err != nil || len(records) == 0 {
		w.t.Fatalf("%d records, %v", len(records), err)
	}
	return records[0]
}

func TestATransactionEndsDoneOrAsBefore(t *testing.T) {
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		server plannedServer
		exit   int
		phase  string
		steps  string
	}{
		"all is well":                            {plannedServer{}, control.ExitDone, phaseDone, "test reload check"},
		"nginx refuses":                          {plannedServer{test: broken}, control.ExitFailed, phaseRestored, "test"},
		"nginx does not reload":                  {plannedServer{reload: errNotTaken}, control.ExitUndone, phaseRestored, "test reload test reload"},
		"requests do not arrive":                 {plannedServer{check: errNotTaken}, control.ExitUndone, phaseRestored, "test reload check test reload"},
		"the reload fails, also on the way back": {plannedServer{reload: broken}, control.ExitFailed, phaseBegun, "test reload test reload"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTwoFiles(t)
			err, _ := w.run(&c.server)
			exit := control.ExitDone
			var failed migrateError
			if errors.As(err, &failed) {
				exit = failed.exit
			}
			if exit != c.exit || (err != nil) != (c.exit != control.ExitDone) {
				t.Errorf("ended with code %d and %v, want %d", exit, err, c.exit)
			}
			if got := strings.Join(c.server.steps, " "); got != c.steps {
				t.Errorf("the steps were %s, want %s", got, c.steps)
			}
			if got := w.newest().Phase; got != c.phase {
				t.Errorf("the record says %s, want %s", got, c.phase)
			}
			if c.exit == control.ExitDone {
				w.hold(firstAfter, secondAfter)
			} else {
				w.hold(firstBefore, secondBefore)
			}
		})
	}
}

func TestATransactionThatIsKilledLeavesItsRecord(t *testing.T) {
	for _, step := range []string{"test", "reload", "check"} {
		t.Run(step, func(t *testing.T) {
			w := newTwoFiles(t)
			if _, died := w.run(&plannedServer{died: step}); !died {
				t.Fatal("it was not killed")
			}
			w.hold(firstAfter, secondAfter)
			record, err := w.store.unfinished()
			if err != nil || record == nil || !record.holds() {
				t.Fatalf("the record is %+v, %v", record, err)
			}
			if restored, err := record.restore(); !restored || err != nil {
				t.Errorf("restoring: %v, %v", restored, err)
			}
			w.hold(firstBefore, secondBefore)
		})
	}
}

// Killed while the way back, and between the two files.
func TestARestoreThatIsKilledIsFinishedByTheNext(t *testing.T) {
	w := newTwoFiles(t)
	if _, died := w.run(&plannedServer{died: "test"}); !died {
		t.Fatal("it was not killed")
	}
	w.write("first", firstBefore)
	record, err := w.store.unfinished()
	if err != nil || record == nil || record.holds() {
		t.Fatalf("the record is %+v, %v", record, err)
	}
	if restored, err := record.restore(); !restored || err != nil {
		t.Errorf("restoring: %v, %v", restored, err)
	}
	w.hold(firstBefore, secondBefore)
}

func TestAFileThatChangedMeanwhileIsLeft(t *testing.T) {
	w := newTwoFiles(t)
	const others = "upstream b { server 127.0.0.1:3001; }\n"
	w.write("second", others)
	s := &plannedServer{}
	if err, _ := w.run(s); err == nil || !strings.Contains(err.Error(), "changed while this ran") {
		t.Errorf("ended with %v", err)
	}
	w.hold(firstBefore, others)
	if len(s.steps) > 0 {
		t.Errorf("nginx was asked to %v", s.steps)
	}
}

func TestAnInterruptPutsEverythingBack(t *testing.T) {
	w := newTwoFiles(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tx := &transaction{w.store, &plannedServer{}, t.Logf}
	if _, err := tx.run(ctx, kindMigrate, w.changes); err == nil || err.Error() != "interrupted" {
		t.Errorf("ended with %v", err)
	}
	w.hold(firstBefore, secondBefore)
}

func TestADamagedBackupIsNotPutBack(t *testing.T) {
	w := newTwoFiles(t)
	w.run(&plannedServer{})
	record := w.newest()
	for _, f := range record.Files {
		if err := os.WriteFile(filepath.Join(record.dir, f.Backup), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if restored, err := record.restore(); restored || err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("restoring: %v, %v", restored, err)
	}
	w.hold(firstAfter, secondAfter)
}

// Power lost while a draft was being written.
func TestALeftDraftDoesNotDisturb(t *testing.T) {
	w := newTwoFiles(t)
	if err := os.WriteFile(draft(filepath.Join(w.dir, "first")), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err, _ := w.run(&plannedServer{}); err != nil {
		t.Fatal(err)
	}
	w.hold(firstAfter, secondAfter)
	if matches, err := filepath.Glob(filepath.Join(w.dir, "*")); err != nil || len(matches) != 3 {
		t.Errorf("%v, %v", matches, err)
	}
	if name := filepath.Base(draft("/etc/nginx/conf.d/a.conf")); !strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".conf") {
		t.Errorf("nginx would include %s", name)
	}
}

func TestAReplacedFileKeepsItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, mode := range []os.FileMode{0o644, 0o640, 0o600, 0o664} {
		if err := errors.Join(os.WriteFile(path, []byte("a"), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if err := replaceFile(path, []byte("b")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("the mode is %v, %v; want %v", info.Mode(), err, mode)
		}
	}
	if err := replaceFile(t.TempDir(), nil); err == nil {
		t.Error("a directory was replaced")
	}
}

func TestBackupsLieWhereOnlyTheirOwnerWrites(t *testing.T) {
	w := newTwoFiles(t)
	other := *w.store
	if _, err := other.lock(); !errors.Is(err, switcher.ErrBusy) {
		t.Errorf("a second lock: %v, want busy", err)
	}
	other.dir = filepath.Join(w.dir, "open")
	if err := errors.Join(os.Mkdir(other.dir, 0o777), os.Chmod(other.dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	if _, err := other.lock(); err == nil {
		t.Error("a directory that all may write was taken")
	}
	if _, err := other.records(); err == nil {
		t.Error("records that anybody may have written were read")
	}
	other.dir, other.uid = w.store.dir, w.store.uid+1
	if _, err := other.records(); err == nil {
		t.Error("another user's records were read")
	}
	if record, err := other.unfinished(); err == nil {
		t.Errorf("whether the last one ended was read from another user's records: %+v", record)
	}
}

func TestTheNewestRecordOfABlockCounts(t *testing.T) {
	w := newTwoFiles(t)
	w.run(&plannedServer{})
	p := w.changes[0].place
	records, err := w.store.records()
	if err != nil {
		t.Fatal(err)
	}
	again := records[0]
	again.Kind, again.Blocks = kindUndo, []recordedBlock{{p.service.Name, p.upstream.Name, p.file.real, "undo", "undo"}}
	older := records[0]
	older.Blocks = []recordedBlock{{p.service.Name, p.upstream.Name, p.file.real, "older", "older"}}
	got := findBlock([]migrationRecord{again, records[0], older}, p)
	if got == nil || got.Before != strings.TrimSpace(p.upstream.Text()) || got.Before == got.After {
		t.Errorf("found %+v", got)
	}
}

func TestNamingTheActiveSlot(t *testing.T) {
	s := control.ServiceStatus{Active: switcher.Green, Slots: []control.SlotStatus{
		{Name: switcher.Blue, Address: "127.0.0.1:5000"}, {Name: switcher.Green, Address: "127.0.0.1:5001"},
	}}
	for block, want := range map[string]string{
		"upstream b { server localhost:5001; }":                             "upstream b { server localhost:5001; }",
		"upstream b { server localhost:5000; # server 127.0.0.1:5001\n}":    "upstream b { server localhost:5001; # server 127.0.0.1:5000\n}",
		"upstream b { server 127.0.0.1:5000; server 127.0.0.1:5001 down; }": "upstream b { server 127.0.0.1:5001; server 127.0.0.1:5000 down; }",
		"upstream b { server 127.0.0.1:4000; }":                             "upstream b { server 127.0.0.1:5001; }",
	} {
		if got, err := naming(block, s); got != want || err != nil {
			t.Errorf("%s became\n%s, %v; want\n%s", block, got, err, want)
		}
	}
	for _, block := range []string{"", "upstream b {", "upstream b { server a down; }", "a; b;"} {
		if got, err := naming(block, s); err == nil {
			t.Errorf("%q became %q", block, got)
		}
	}
}

func TestWithinABlock(t *testing.T) {
	src := []byte("abc{def}ghi")
	got := applyWithin("{def}", 3, 8, []nginx.Edit{{Start: 0, End: 1, Text: "x"}, {Start: 4, End: 5, Text: "DD"}, {Start: 9, End: 10}})
	if got != "{DDef}" {
		t.Errorf("%s became %s", src, got)
	}
}
