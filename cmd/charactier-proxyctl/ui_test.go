package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/doctor"
	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

func TestConfirming(t *testing.T) {
	for name, c := range map[string]struct {
		yes, canAsk bool
		answer      string
		code        int
		says        string
	}{
		"--yes asks nobody":                   {yes: true, canAsk: true, code: 0},
		"y goes on":                           {canAsk: true, answer: "y\n", code: 0, says: "go on? [y/N]"},
		"YES goes on":                         {canAsk: true, answer: " YES \n", code: 0, says: "go on? [y/N]"},
		"an empty answer is a no":             {canAsk: true, answer: "\n", code: 1, says: "nothing changed"},
		"no answer is a no":                   {canAsk: true, answer: "", code: 1, says: "nothing changed"},
		"anything else is a no":               {canAsk: true, answer: "yep\n", code: 1, says: "nothing changed"},
		"where nobody can answer, it is said": {answer: "y\n", code: 2, says: "hint: add --yes"},
	} {
		t.Run(name, func(t *testing.T) {
			e, stdout, stderr := testEnv()
			e.canAsk, e.stdin = c.canAsk, strings.NewReader(c.answer)
			if got := e.report(e.confirm(c.yes, "this is dangerous")); got != c.code {
				t.Errorf("exit code %d, want %d", got, c.code)
			}
			if !strings.Contains(stderr.String(), c.says) || c.says == "" && stderr.Len() > 0 {
				t.Errorf("said %q, want %q", stderr, c.says)
			}
			if stdout.Len() > 0 {
				t.Errorf("wrote %q to stdout", stdout)
			}
		})
	}
}

func TestHelpListsTheExitCodesThatTheTableHas(t *testing.T) {
	e, stdout, _ := testEnv()
	if code := run(context.Background(), e, nil); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	_, listed, _ := strings.Cut(stdout.String(), "Exit codes:\n")
	listed, _, _ = strings.Cut(listed, "\n\n")
	var want []string
	for _, m := range control.ExitMeanings() {
		want = append(want, fmt.Sprintf("  %d  %s", m.Code, m.Meaning))
	}
	if listed != strings.Join(want, "\n") {
		t.Errorf("the help lists\n%s\nwant\n%s", listed, strings.Join(want, "\n"))
	}
	for err, code := range map[error]int{
		usagef("", "x"): control.ExitUsage, switcher.ErrBusy: control.ExitBusy, exitError(7): 7,
		errors.New("x"): control.ExitFailed,
	} {
		if got := e.report(err); got != code {
			t.Errorf("%v: exit code %d, want %d", err, got, code)
		}
	}
}

func TestHelpListsEveryVerb(t *testing.T) {
	e, _, _ := testEnv()
	root := newRootCmd(e)
	text := help(root)
	for _, verb := range root.Commands() {
		if verb.IsAvailableCommand() && !strings.Contains(text, "\n  "+verb.Name()+" ") {
			t.Errorf("the help does not list %s", verb.Name())
		}
	}
}

func TestHelpFitsIntoEightyColumns(t *testing.T) {
	e, _, _ := testEnv()
	root := newRootCmd(e)
	for _, verb := range append(root.Commands(), root) {
		if verb.Name() == "demo" {
			continue // shown to newcomers, on wide screens
		}
		text, examples, _ := strings.Cut(help(verb), "\nExamples:\n")
		if _, after, found := strings.Cut(examples, "\n\n"); found {
			text += after
		}
		for line := range strings.Lines(text) {
			if columns := len([]rune(line)) - 1; columns > 80 && !strings.HasPrefix(line, "  demo ") {
				t.Errorf("%s: %d columns: %s", verb.Name(), columns, line)
			}
		}
	}
}

func TestTimesAreReadable(t *testing.T) {
	e, _, _ := testEnv()
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 ns", 950: "950 ns", 41_900: "41 µs", 3 * time.Millisecond: "3 ms",
		1234 * time.Millisecond: "1.2 s", 42 * time.Second: "42 s", 125 * time.Second: "2 min 5 s",
		2 * time.Minute: "2 min", 125 * time.Minute: "2 h 5 min", 24*time.Hour + 5*time.Minute: "1 d",
		76 * time.Hour: "3 d 4 h",
	} {
		if got := e.dur(d); got != want {
			t.Errorf("%d ns: got %q, want %q", d, got, want)
		}
	}
	e.plain = true
	if got := e.dur(41_900); got != "41 us" {
		t.Errorf("in ASCII: got %q", got)
	}
}

func TestNumbersStayShort(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", 0.25: "0.2", 3: "3", 9.96: "10.0", 41.26: "41", 9999: "9999", 12345: "12.3k", 999_999: "1000.0k", 1_234_567: "1.2M",
	} {
		if got := count(n); got != want {
			t.Errorf("%v: got %q, want %q", n, got, want)
		}
	}
}

func TestTextOfOthersCannotDriveTheTerminal(t *testing.T) {
	if got := clean("a\x1b[31mb\r\n\tc\u202e\u0085\x7f日本"); got != "a[31mb  c日本" {
		t.Errorf("got %q", got)
	}
}

func TestCutKeepsWholeCharactersAndEndsColours(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"äöüß", 3, "äö…"},
		{"\x1b[31mabcd\x1b[0m", 3, "\x1b[31mab…\x1b[0m"}, {"\x1b[31mabc\x1b[0m", 3, "\x1b[31mabc\x1b[0m"},
	} {
		if got := cut(c.text, c.width, "…"); got != c.want {
			t.Errorf("%q to %d: got %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

func TestACommandForRootIsThisOneToTheLetter(t *testing.T) {
	args := []string{"deploy", "v1.2", "--reason", "it's $HOME; `id` \"now\"", "--config=/etc/a b.yaml", "", "日本"}
	pasted := strings.Replace((&env{args: args}).asRoot(), "sudo "+program, `printf '%s\n'`, 1)
	got, err := exec.Command("/bin/sh", "-c", pasted).Output()
	if want := strings.Join(args, "\n") + "\n"; err != nil || string(got) != want {
		t.Errorf("%s: got %q, %v, want %q", pasted, got, err, want)
	}
}

func TestHintsMeanTheSameDaemonAndConfiguration(t *testing.T) {
	e := &env{flags: paths.Flags{Socket: "/run/a b.sock", Config: "/etc/c.yaml", StateDir: "/var/lib/c"}}
	if got, want := e.self(), program+" --socket '/run/a b.sock' --config /etc/c.yaml --state-dir /var/lib/c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEachCommandOfAMendHasALine(t *testing.T) {
	var out bytes.Buffer
	e := &env{stdout: &out, plain: true}
	e.printFinding(doctor.Finding{Level: doctor.Fail, Check: "port", Text: "taken", Mend: "ps -fp 1\nsudo kill 1"})
	if want := "  fail port: taken\n         -> ps -fp 1\n            sudo kill 1\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}
