package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestStatIsReadWhateverTheCommandIsCalled(t *testing.T) {
	const rest = " 0 -1 4194304 102 0 0 0 123 45 7 8 20 0 1 0 1247627 3133440 412"
	tests := map[string]procStat{
		"42 (nginx) S 7 42 7":          {42, 7, 1680 * time.Millisecond},
		"42 (a) b (c d)) S 7 42 7":     {42, 7, 1680 * time.Millisecond},
		"42 (nginx: worker p) R 1 2 3": {42, 1, 1680 * time.Millisecond},
	}
	for text, want := range tests {
		if got, err := parseStat(text + " " + strings.TrimSpace(rest)); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestStatThatIsNoneIsAnError(t *testing.T) {
	for _, text := range []string{"", "42", "42 (x", ")42(", "42 (x) S 7 8 9", "x (x) S 7 42 7 0 -1 0 0 0 0 0 1 2", "4 (x) S 7 42 7 0 -1 0 0 0 0 0 a 2"} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func TestRollup(t *testing.T) {
	const text = "557837fb5000-7ffe3cca0000 ---p 00000000 00:00 0                          [rollup]\n" +
		"Rss:                1696 kB\nPss:                 274 kB\nPss_Dirty:           112 kB\n"
	if got, err := parseRollup([]byte(text)); err != nil || got != (memory{1696, 274}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseRollup([]byte("Rss: 12 kB\n")); err == nil {
		t.Errorf("no Pss was read as %+v", got)
	}
}

func TestBusyLeavesOutIdleAndWaiting(t *testing.T) {
	got, err := parseBusy("cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if err != nil || got != 63*tick {
		t.Errorf("%s, %v, want %s", got, err, 63*tick)
	}
	for _, text := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 7 x"} {
		if got, err := parseBusy(text); err == nil {
			t.Errorf("%q was read as %s", text, got)
		}
	}
}

// A shell and the child that it waits for.
func TestAFamilyIsWeighedTogether(t *testing.T) {
	cmd := exec.Command("sh", "-c", "exec 3<&0; cat <&3 3<&- & echo; exec 3<&-; wait")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer stdin.Close()
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	members, err := family(cmd.Process.Pid)
	if err != nil || len(members) < 2 || members[0].pid != cmd.Process.Pid || members[1].parent != cmd.Process.Pid {
		t.Errorf("the family of %d is %+v, %v", cmd.Process.Pid, members, err)
	}
	both, err := memoryOf(cmd.Process.Pid)
	if err != nil || both.pss == 0 || both.rss < both.pss {
		t.Errorf("memory %+v, %v", both, err)
	}
	own, err := cpuOf(os.Getpid())
	if err != nil || own < 0 {
		t.Errorf("%s of our own, %v", own, err)
	}
}

func TestAProcessThatIsGoneHasNoFamily(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := cpuOf(cmd.Process.Pid); err == nil {
		t.Error("no error")
	}
}
