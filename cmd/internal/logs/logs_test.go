package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"charactier-proxy/switcher"
)

// journalVar makes this binary a journalctl that prints what the file holds.
const journalVar = "LOGS_TEST_JOURNAL"

func TestMain(m *testing.M) {
	if file := os.Getenv(journalVar); file != "" && filepath.Base(os.Args[0]) == "journalctl" {
		os.Exit(fakeJournal(file))
	}
	goleak.VerifyTestMain(m)
}

// fakeJournal notes how it was called, prints the entries and with --follow
// those of the file's neighbour, and stays until it is told to end.
func fakeJournal(file string) int {
	calls, err := os.OpenFile(file+".calls", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(calls, strings.Join(os.Args[1:], " "))
	if slices.Contains(os.Args, "--follow") {
		file += ".later"
	}
	text, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, "No journal files were found.")
		return 1
	}
	os.Stdout.Write(text)
	if slices.Contains(os.Args, "--follow") {
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		<-ended
		fmt.Fprintln(calls, "ended")
	}
	return 0
}

// journalOf puts a fake journalctl into the PATH; it returns where its calls
// are noted.
func journalOf(t *testing.T, now, later string) (calls string) {
	t.Helper()
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "entries")
	err = errors.Join(os.Symlink(program, filepath.Join(dir, "journalctl")),
		os.WriteFile(file, []byte(now), 0o600), os.WriteFile(file+".later", []byte(later), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv(journalVar, file)
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	return file + ".calls"
}

var units = []Unit{{"b.service", "backend", switcher.Blue}, {"g.service", "backend", switcher.Green}}

// record is an entry as journalctl prints it, so many seconds after noon.
func record(seconds int, fields string) string {
	at := time.Date(2026, 11, 20, 12, 0, seconds, 0, time.UTC)
	return fmt.Sprintf(`{"__CURSOR":"c%d","__REALTIME_TIMESTAMP":"%d",%s}`+"\n", seconds, at.UnixMicro(), fields)
}

func said(seconds int, unit, text string) string {
	return record(seconds, fmt.Sprintf(`"_SYSTEMD_UNIT":%q,"MESSAGE":%q`, unit, text))
}

// brief is a line in few words.
func brief(l Line) string {
	return fmt.Sprintf("%s %s%s %s: %s", l.Time.UTC().Format("05"), l.Source, prefixed(l.Service), l.Slot, l.Text)
}

func prefixed(text string) string {
	if text == "" {
		return ""
	}
	return " " + text
}

func collect(t *testing.T, o Options) []string {
	t.Helper()
	var got []string
	if err := Read(t.Context(), o, func(l Line) error { got = append(got, brief(l)); return nil }); err != nil {
		t.Fatal(err)
	}
	return got
}

func deployLog(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deploy.log")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheSourcesArePutInOrder(t *testing.T) {
	calls := journalOf(t, said(1, "b.service", "one")+
		record(2, `"_SYSTEMD_UNIT":"init.scope","UNIT":"g.service","MESSAGE":"Started g."`)+
		"-- Boot of yesterday --\n"+
		record(3, fmt.Sprintf(`"_SOURCE_REALTIME_TIMESTAMP":"%d","_SYSTEMD_UNIT":"init.scope","UNIT":"b.service","MESSAGE":"received late"`, time.Date(2026, 11, 20, 12, 0, 2, 500_000_000, time.UTC).UnixMicro()))+
		said(3, "stranger.service", "not ours")+
		record(3, `"_SYSTEMD_UNIT":"g.service","MESSAGE":[104,255,105]`)+
		record(4, `"_SYSTEMD_UNIT":"g.service","MESSAGE":null`)+
		record(4, `"_SYSTEMD_UNIT":"g.service","MESSAGE":["twice","told"]`)+
		said(1, "b.service", "the clock went back")+
		`{"__CURSOR":"torn`, "")
	path := deployLog(t, "npm ci\n2026-11-20T12:00:02Z build backend\n  added 312 packages\r\n2026-11-20T21:00:05.5+09:00 switch\nunfinished")
	got := collect(t, Options{Units: units, DeployLog: path, Lines: -1})
	want := []string{
		"01 unit backend blue: one",
		"02 deploy : npm ci", "02 deploy : build backend", "02 deploy :   added 312 packages",
		"02 systemd backend green: Started g.",
		"02 systemd backend blue: received late",
		"03 unit backend green: h\uFFFDi", "04 unit backend green: ", "04 unit backend green: twice",
		"01 unit backend blue: the clock went back",
		"05 deploy : switch",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if got := collect(t, Options{Units: units, DeployLog: path, Lines: 2}); !cmp.Equal(got, want[9:]) {
		t.Errorf("the newest two are %q", got)
	}
	if got := collect(t, Options{Units: units, DeployLog: path, Lines: 0}); len(got) != 0 {
		t.Errorf("the newest none are %q", got)
	}
	asked, err := os.ReadFile(calls)
	// None would mean that there is no place to go on from.
	if err != nil || !strings.Contains(string(asked), "--lines=2 --unit=b.service --unit=g.service\n") || !strings.Contains(string(asked), "--lines=1 ") {
		t.Errorf("journalctl was called with:\n%s%v", asked, err)
	}
}

func TestSinceLeavesOutWhatIsOlder(t *testing.T) {
	calls := journalOf(t, "", "")
	path := deployLog(t, "2026-11-20T12:00:02Z old\n of old\n2026-11-20T12:00:03Z new\n of new\n2026-11-20T12:00:01Z later, whatever it says\n")
	since := time.Date(2026, 11, 20, 12, 0, 3, 500_000, time.UTC).Add(-time.Millisecond)
	got := collect(t, Options{Units: units, DeployLog: path, Lines: -1, Since: since})
	if want := []string{"03 deploy : new", "03 deploy :  of new", "01 deploy : later, whatever it says"}; !cmp.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if asked, err := os.ReadFile(calls); err != nil || !strings.Contains(string(asked), fmt.Sprintf("--since=@%d.999500 ", since.Unix())) {
		t.Errorf("journalctl was called with:\n%s%v", asked, err)
	}
}

func TestWhatIsNotThereIsEmpty(t *testing.T) {
	journalOf(t, "", "")
	if got := collect(t, Options{Units: units, DeployLog: "/nowhere/deploy.log", Lines: 10}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if got := collect(t, Options{DeployLog: deployLog(t, "no time at all\n"), Lines: 10}); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

func TestAJournalThatCannotBeReadIsSaid(t *testing.T) {
	calls := journalOf(t, "", "")
	if err := os.Remove(strings.TrimSuffix(calls, ".calls")); err != nil {
		t.Fatal(err)
	}
	err := Read(t.Context(), Options{Units: units}, nil)
	if err == nil || !strings.Contains(err.Error(), "exit status 1: No journal files were found.") {
		t.Errorf("the error is %v", err)
	}
	t.Setenv("PATH", "/nowhere")
	if err := Read(t.Context(), Options{Units: units}, nil); err == nil || !strings.Contains(err.Error(), "journalctl") {
		t.Errorf("without journalctl the error is %v", err)
	}
}

func TestOnlyTheEndOfALongDeployLogIsRead(t *testing.T) {
	whole := strings.Repeat("x", 100)
	long := strings.Repeat("2026-11-20T12:00:01Z "+whole+"\n", maxBacklog/100)
	got := collect(t, Options{DeployLog: deployLog(t, long+"2026-11-20T12:00:02Z end\n"), Lines: 1_000_000})
	if n := len(got); n < 30_000 || n > maxBacklog/100 || got[n-1] != "02 deploy : end" || got[0] != "01 deploy : "+whole {
		t.Errorf("%d lines, from %q to %q", n, got[0], got[n-1])
	}
}

// follow runs Follow beside the test.
func follow(t *testing.T, o Options) (lines <-chan string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- Follow(ctx, o, func(l Line) error { told <- brief(l); return nil })
	}()
	return told, func() error { cancel(); return <-ended }
}

func expect(t *testing.T, lines <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-lines:
			if got != w {
				t.Fatalf("got %q, want %q", got, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%q does not come", w)
		}
	}
}

func TestWhatComesIsToldOnce(t *testing.T) {
	calls := journalOf(t, said(1, "b.service", "before"), said(7, "g.service", "after"))
	path := deployLog(t, "2026-11-20T12:00:02Z begun\n2026-11-20T12:00:0")
	lines, stop := follow(t, Options{Units: units, DeployLog: path, Lines: 10})
	expect(t, lines, "01 unit backend blue: before", "02 deploy : begun", "07 unit backend green: after")
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = io.WriteString(f, text)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	add("8Z went on\n")
	expect(t, lines, "08 deploy : went on")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("in a new file ", 20) // longer than the old one
	add("2026-11-20T12:00:09Z " + long + "\n")
	expect(t, lines, "09 deploy : "+long)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	add("2026-11-20T12:00:10Z cut\n")
	expect(t, lines, "10 deploy : cut")
	if err := stop(); err != nil {
		t.Error(err)
	}
	asked, err := os.ReadFile(calls)
	if err != nil || !strings.Contains(string(asked), "--follow --no-tail --after-cursor=c1 ") || !bytes.HasSuffix(asked, []byte("ended\n")) {
		t.Errorf("journalctl was called with:\n%s%v", asked, err)
	}
}

func TestAReaderThatLeavesEndsEverything(t *testing.T) {
	journalOf(t, "", said(1, "b.service", "x"))
	gone := errors.New("gone")
	if err := Follow(t.Context(), Options{Units: units}, func(Line) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("the error is %v", err)
	}
}

func TestLinesThatArriveInAMomentAreSorted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		lines, told, ended := make(chan Line), make(chan string, 100), make(chan error)
		go func() {
			ended <- reorder(ctx, lines, func(l Line) error { told <- l.Text; return nil })
		}()
		at := time.Now()
		send := func(text string, seconds int) {
			lines <- Line{Time: at.Add(time.Duration(seconds) * time.Second), Text: text}
		}
		send("c", 3)
		send("a", 1)
		time.Sleep(window / 2)
		send("b", 2)
		send("b2", 2)
		synctest.Wait()
		if n := len(told); n != 0 {
			t.Errorf("%d lines were told too early", n)
		}
		time.Sleep(window)
		send("late", 0)
		for _, want := range []string{"a", "b", "b2", "c", "late"} {
			if got := <-told; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		send("left", 9)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) || len(told) != 1 {
			t.Errorf("at the end: %v, %d lines", err, len(told))
		}
	})
}
