package systemd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// Tail returns the last lines that the journal has of the run that s describes,
// of its processes as of systemd about it, the oldest first. Without a run, or
// without the right to read the journal, there are none.
func (u *Units) Tail(ctx context.Context, s UnitState, lines int) ([]string, error) {
	if s.InvocationID == "" {
		return nil, nil
	}
	// What a process wrote just before it ended may still be on its way. This
	// waits for it, where the caller may ask for that.
	_ = exec.CommandContext(ctx, "journalctl", "--sync").Run()
	cmd := exec.CommandContext(ctx, "journalctl", "--quiet", "--no-pager", "--output=json",
		"--output-fields=MESSAGE,INVOCATION_ID,_SYSTEMD_INVOCATION_ID", "--lines="+strconv.Itoa(4*lines+50),
		"_SYSTEMD_UNIT="+s.Name, "+", "UNIT="+s.Name)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("reading the journal of %s: %w: %s", s.Name, err, bytes.TrimSpace(complaint.Bytes()))
	}
	of := linesOfRun(out, s.InvocationID)
	return of[max(0, len(of)-lines):], nil
}

// journalEntry is a line of journalctl's.
type journalEntry struct {
	Message json.RawMessage `json:"MESSAGE"`
	About   string          `json:"INVOCATION_ID"` // systemd's own words
	Run     string          `json:"_SYSTEMD_INVOCATION_ID"`
}

// linesOfRun picks the messages of a run. Those of a process that ended before
// the journal had a look at it carry no run: they are of that of their
// neighbours, systemd's words at its start and end at least.
func linesOfRun(out []byte, run string) (messages []string) {
	current, unclaimed := "", 0
	for line := range bytes.Lines(out) {
		var e journalEntry
		if json.Unmarshal(line, &e) != nil || len(e.Message) == 0 {
			continue
		}
		if id := cmp.Or(e.Run, e.About); id != "" {
			if current == "" && id != run {
				messages = messages[unclaimed:]
			}
			current = id
		}
		switch current {
		case "":
			unclaimed++
			messages = append(messages, journalText(e.Message))
		case run:
			messages = append(messages, journalText(e.Message))
		}
	}
	return messages
}

// journalText reads a field: text is a string, all else an array of its bytes.
func journalText(field json.RawMessage) string {
	var text string
	if json.Unmarshal(field, &text) == nil {
		return text
	}
	var numbers []int
	if json.Unmarshal(field, &numbers) != nil {
		return ""
	}
	raw := make([]byte, len(numbers))
	for i, n := range numbers {
		raw[i] = byte(n)
	}
	return strings.ToValidUTF8(string(raw), "\uFFFD")
}
