package systemd

import (
	"bytes"
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
		"--output-fields=MESSAGE", "--lines="+strconv.Itoa(lines),
		"_SYSTEMD_INVOCATION_ID="+s.InvocationID, "+", "INVOCATION_ID="+s.InvocationID)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("reading the journal of %s: %w: %s", s.Name, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return journalMessages(out), nil
}

// journalMessages takes the messages out of journalctl's lines; what is none is
// left out.
func journalMessages(out []byte) (messages []string) {
	for line := range bytes.Lines(out) {
		var entry struct {
			Message json.RawMessage `json:"MESSAGE"`
		}
		if json.Unmarshal(line, &entry) == nil && len(entry.Message) > 0 {
			messages = append(messages, journalText(entry.Message))
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
