package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/logs"
)

const deployLog = "/var/log/charactier-deploy.log"

// logged are the lines of logs --json that keep wants.
func logged(t *testing.T, out string, keep func(logs.Line) bool) []string {
	t.Helper()
	var got []string
	for line := range strings.Lines(out) {
		var l logs.Line
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if keep(l) {
			got = append(got, fmt.Sprintf("%s %s: %s", l.Source, l.Slot, l.Text))
		}
	}
	return got
}

func TestLogsOfBothSlotsAndTheDeploysAreOne(t *testing.T) {
	s := bootServer(t)
	s.dropIn(blueUnit, "[Service]\nExecStartPre=/bin/echo hello from blue\n")
	s.dropIn(greenUnit, "[Service]\nExecStartPre=/bin/echo hello from green\n")
	now := func() string { return time.Now().Format(time.RFC3339Nano) }
	log := now() + " deploy 1 begins\n"
	s.Run("systemctl", "restart", blueUnit)
	log += now() + " build\n  of several lines\n"
	s.Write(deployLog, log)
	s.Run("systemctl", "restart", greenUnit)
	s.Run("journalctl", "--sync")

	ours := func(l logs.Line) bool {
		return l.Source == logs.FromDeploy || strings.HasPrefix(l.Text, "hello") || strings.HasPrefix(l.Text, "Started ")
	}
	got := logged(t, s.Run("charactier-proxyctl", "logs", "--json", "-n", "10000"), ours)
	want := []string{
		"deploy : deploy 1 begins", "unit blue: hello from blue", "systemd blue: Started " + blueUnit + " - Charactier backend (blue).",
		"deploy : build", "deploy :   of several lines",
		"unit green: hello from green", "systemd green: Started " + greenUnit + " - Charactier backend (green).",
	}
	// What was before is not of interest: both were started by the boot.
	if n := len(got); n < len(want) || strings.Join(got[n-len(want):], "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant at the end\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := logged(t, s.Run("charactier-proxyctl", "logs", "--json", "--slot=green", "--no-deploy", "--since=1h"), func(l logs.Line) bool { return l.Slot != "green" }); len(got) > 0 {
		t.Errorf("of green alone it showed %q", got)
	}
	// A unit that is not there says nothing; the other one is heard.
	s.Run("rm", "/etc/systemd/system/"+greenUnit)
	s.Run("systemctl", "daemon-reload")
	if out := s.Run("charactier-proxyctl", "logs", "-n", "10000"); !strings.Contains(out, "hello from blue") {
		t.Errorf("without a unit for green:\n%s", out)
	}
}

func TestLogsFollowAndLeaveNothingBehind(t *testing.T) {
	s := bootServer(t)
	s.dropIn(blueUnit, "[Service]\nExecStartPre=/bin/echo hello from blue\n")
	for _, signal := range []string{"INT", "KILL"} {
		cmd := s.Command(t.Context(), "charactier-proxyctl", "logs", "-f", "-n", "0")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Eventually("the journal is followed", func() error {
			if line, _ := s.Command(t.Context(), "pidof", "journalctl").Output(); len(line) == 0 { // it fails if there is none
				return errors.New("there is no journalctl")
			}
			return nil
		})
		lines := make(chan string, 100)
		go func() {
			defer close(lines)
			for r := bufio.NewScanner(out); r.Scan(); {
				lines <- r.Text()
			}
		}()
		s.Run("systemctl", "restart", blueUnit)
		s.log("deploy " + signal)
		awaitLines(t, lines, "hello from blue", "deploy "+signal)

		pid := s.Run("pidof", "charactier-proxyctl")
		s.Run("kill", "-"+signal, pid)
		if err := cmd.Wait(); (err == nil) != (signal == "INT") {
			t.Errorf("after SIG%s it ended with %v", signal, err)
		}
		for range lines {
			// The rest does not matter.
		}
		s.gone("journalctl")
	}

	// A reader that has enough ends it with the next line.
	piped := s.Command(t.Context(), "sh", "-c", "charactier-proxyctl logs -f -n 1 | head -n 1")
	if err := piped.Start(); err != nil {
		t.Fatal(err)
	}
	s.Eventually("the command has ended", func() error {
		s.log("one more")
		if left, _ := s.Command(t.Context(), "pidof", "head", "charactier-proxyctl").Output(); len(left) > 0 { // it fails if there is none
			return fmt.Errorf("process %s is left", left)
		}
		return nil
	})
	s.gone("journalctl")
	if err := piped.Wait(); err != nil {
		t.Error(err)
	}
}

// log appends to the log of deploys.
func (s *server) log(text string) {
	s.t.Helper()
	s.Run("sh", "-c", "echo "+time.Now().Format(time.RFC3339)+" "+text+" >>"+deployLog)
}

// gone waits until there is no such program any more.
func (s *server) gone(program string) {
	s.t.Helper()
	s.Eventually(program+" has ended", func() error {
		if left, _ := s.Command(s.t.Context(), "pidof", program).Output(); len(left) > 0 { // it fails if there is none
			return fmt.Errorf("process %s is left", left)
		}
		return nil
	})
}

// awaitLines reads until each text has been in a line, in whatever order.
func awaitLines(t *testing.T, lines <-chan string, texts ...string) {
	t.Helper()
	late := time.After(patience)
	for len(texts) > 0 {
		select {
		case line, ok := <-lines:
			if !ok {
				t.Fatalf("it ended before %q", texts)
			}
			for i, text := range texts {
				if strings.Contains(line, text) {
					texts = append(texts[:i], texts[i+1:]...)
					break
				}
			}
		case <-late:
			t.Fatalf("%q does not come", texts)
		}
	}
}
