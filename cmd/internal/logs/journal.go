package logs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// journalPlace is how far the journal was read: up to an entry, or up to a time
// where there was none.
type journalPlace struct {
	cursor string
	since  time.Time
}

// readJournal reads what there is.
func readJournal(ctx context.Context, o Options) (lines []Line, at journalPlace, err error) {
	at.since = time.Now()
	args := []string{}
	if o.Lines >= 0 {
		// One at least: it is the place to go on from.
		args = append(args, "--lines="+strconv.Itoa(max(o.Lines, 1)))
	}
	if !o.Since.IsZero() {
		args = append(args, "--since="+journalTime(o.Since))
	}
	err = journal(ctx, o.Units, args, func(l Line, cursor string) error {
		at.cursor = cursor
		lines = append(lines, l)
		return nil
	})
	return newest(lines, o.Lines), at, err
}

// followJournal tells what comes after a place until ctx ends.
func followJournal(ctx context.Context, units []Unit, at journalPlace, emit func(Line) error) error {
	args := []string{"--follow", "--no-tail"}
	if at.cursor != "" {
		args = append(args, "--after-cursor="+at.cursor)
	} else {
		args = append(args, "--since="+journalTime(at.since))
	}
	err := journal(ctx, units, args, func(l Line, _ string) error { return emit(l) })
	if err == nil && ctx.Err() == nil {
		err = errors.New("journalctl has ended")
	}
	return err
}

// journalTime is a time as journalctl takes it whatever the locale.
func journalTime(t time.Time) string {
	return fmt.Sprintf("@%d.%06d", t.Unix(), t.Nanosecond()/1000)
}

// journal runs journalctl and tells its entries. It ends with ctx, and with this
// process even if that is killed.
func journal(ctx context.Context, units []Unit, args []string, emit func(Line, string) error) error {
	args = append([]string{"--quiet", "--no-pager", "--output=json", "--all",
		"--output-fields=MESSAGE,_SYSTEMD_UNIT,UNIT,OBJECT_SYSTEMD_UNIT,_SOURCE_REALTIME_TIMESTAMP"}, args...)
	for _, u := range units {
		args = append(args, "--unit="+u.Name)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "journalctl", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	readErr := readEntries(out, units, emit)
	if readErr != nil {
		cancel()
	}
	err = cmd.Wait()
	switch {
	case readErr != nil:
		return readErr
	case err != nil && ctx.Err() == nil:
		return fmt.Errorf("reading the journal: %w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return nil
}

// entry is what journalctl prints, in the fields that are asked for.
type entry struct {
	Cursor  string          `json:"__CURSOR"`
	Time    string          `json:"__REALTIME_TIMESTAMP"`       // when it was received, in microseconds
	Sent    string          `json:"_SOURCE_REALTIME_TIMESTAMP"` // and sent, where that is known
	Message json.RawMessage `json:"MESSAGE"`
	Unit    string          `json:"_SYSTEMD_UNIT"`       // that wrote it
	About   string          `json:"UNIT"`                // that systemd writes about
	Object  string          `json:"OBJECT_SYSTEMD_UNIT"` // that somebody else writes about
}

func readEntries(out io.Reader, units []Unit, emit func(Line, string) error) error {
	r := bufio.NewReader(out)
	for {
		raw, err := r.ReadBytes('\n')
		var e entry
		// A last line that is cut short is no entry.
		if err == nil && json.Unmarshal(raw, &e) == nil {
			if l, ok := e.line(units); ok {
				if err := emit(l, e.Cursor); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return nil // how journalctl ended is told by its exit code
		}
	}
}

// line says whose the entry is; one that is nobody's is left out.
func (e entry) line(units []Unit) (Line, bool) {
	usec, err := strconv.ParseInt(e.Time, 10, 64)
	if err != nil {
		return Line{}, false
	}
	if sent, err := strconv.ParseInt(e.Sent, 10, 64); err == nil && sent < usec {
		usec = sent
	}
	l := Line{Time: time.UnixMicro(usec), Source: FromUnit, Text: text(e.Message)}
	for _, name := range []string{e.Unit, e.About, e.Object} {
		for _, u := range units {
			if u.Name == name {
				l.Service, l.Slot, l.Unit = u.Service, u.Slot, u.Name
				return l, true
			}
		}
		l.Source = FromSystemd
	}
	return Line{}, false
}

// text reads a field: text is a string, all else an array of its bytes, and a
// field that is there twice an array of those.
func text(field json.RawMessage) string {
	var plain string
	if json.Unmarshal(field, &plain) == nil {
		return plain
	}
	var numbers []byte
	var each []json.RawMessage
	if json.Unmarshal(field, &each) != nil {
		return ""
	}
	for _, e := range each {
		n, err := strconv.ParseUint(string(e), 10, 8)
		if err != nil {
			return text(each[0])
		}
		numbers = append(numbers, byte(n))
	}
	return strings.ToValidUTF8(string(numbers), "\uFFFD")
}
