package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"charactier-proxy/switcher/control"
)

// The output contract.
//
// Results go to standard output: sentences and tables for people, or with
// --json exactly one JSON value (for events: one in each line) and nothing else.
// An operation that failed prints, with --json, an object {code, message, hint,
// record}.
//
// Everything else goes to standard error, one thing in a line:
//
//	charactier-proxyctl: what happened
//	traffic: where it is, if an operation failed
//	hint: what to do next
//	      one command in a line, so that each can be pasted
//
// in lower case and without a full stop. What is dangerous (--force, hold) is
// confirmed: on a terminal by a person, elsewhere by --yes; nothing ever waits
// for an answer that cannot come. Colours are used on a terminal only, not with
// NO_COLOR or TERM=dumb, and never carry a meaning alone. Text that others wrote
// (reasons, errors, names) is printed without its control characters.

const program = "charactier-proxyctl"

func (e *env) printf(format string, args ...any) { fmt.Fprintf(e.stdout, format, args...) }

// notef tells what goes on; warnf what should be looked at.
func (e *env) notef(format string, args ...any) {
	fmt.Fprintf(e.stderr, program+": "+format+"\n", args...)
}

func (e *env) warnf(format string, args ...any) {
	fmt.Fprintf(e.stderr, program+": %s "+format+"\n", append([]any{e.errPaint(yellow, "warning:")}, args...)...)
}

func (e *env) trafficf(format string, args ...any) {
	fmt.Fprintf(e.stderr, "traffic: "+format+"\n", args...)
}

// hintf may say several lines; they come from others too.
func (e *env) hintf(format string, args ...any) {
	lead := "hint: "
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(e.stderr, "%s%s\n", lead, clean(strings.TrimSuffix(line, "\n")))
		lead = "      "
	}
}

// lines puts commands below each other.
func lines(commands ...string) string { return strings.Join(commands, "\n") }

// printJSON prints the one value of --json.
func (e *env) printJSON(value any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	return nil
}

// usageError is a command line or a configuration that cannot be understood.
type usageError struct {
	message, hint string
	source        string // the lines that are wrong, to be shown before
}

func (u usageError) Error() string { return u.message }
func (u usageError) Hint() string  { return u.hint }

func usagef(hint, format string, args ...any) error {
	return usageError{message: fmt.Sprintf(format, args...), hint: hint}
}

// exitError ends with a code after everything was said.
type exitError int

func (x exitError) Error() string { return fmt.Sprintf("exit %d", int(x)) }

// exitInterrupted is what shells give a command that SIGINT ended.
const exitInterrupted = 130

// report prints err and returns the exit code.
func (e *env) report(err error) int {
	var silent exitError
	var usage usageError
	switch {
	case err == nil:
		return control.ExitDone
	case errors.As(err, &silent):
		return int(silent)
	}
	if errors.As(err, &usage) && usage.source != "" {
		fmt.Fprintln(e.stderr, usage.source)
	}
	fmt.Fprintf(e.stderr, "%s: %s\n", program, clean(err.Error()))
	if hint := control.HintOf(err); hint != "" {
		e.hintf("%s", hint)
	}
	if errors.As(err, &usage) {
		return control.ExitUsage
	}
	return control.ExitCode(err)
}

// confirm asks about something dangerous. yes answers beforehand.
func (e *env) confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	if !e.canAsk {
		return usagef("add --yes if that is what you want", "%s: this must be confirmed, and nobody can be asked here", what)
	}
	fmt.Fprintf(e.stderr, "%s\ngo on? [y/N] ", what)
	line, _ := bufio.NewReader(e.stdin).ReadString('\n') // an unreadable answer is a no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	e.notef("nothing changed")
	return exitError(control.ExitFailed)
}

// clean removes what could drive a terminal from text that others wrote. Line
// breaks and tabs become spaces.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, text)
}

// style is an SGR parameter (ECMA-48, section 8.3.117).
type style string

const (
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "34"
)

func (e *env) paint(s style, text string) string    { return paint(e.colour, s, text) }
func (e *env) errPaint(s style, text string) string { return paint(e.errColour, s, text) }

func paint(on bool, s style, text string) string {
	if !on || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// glyph is fancy, or ascii where that is all that can be shown.
func (e *env) glyph(fancy, ascii string) string {
	if e.plain {
		return ascii
	}
	return fancy
}

// asRoot is this very command for root, so that it can be pasted.
func (e *env) asRoot() string {
	words := []string{"sudo", program}
	for _, arg := range e.args {
		words = append(words, shellWord(arg))
	}
	return strings.Join(words, " ")
}

// shellWord is text as one word for a shell.
func shellWord(text string) string {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:=@,+%", r)
	}
	if text != "" && !strings.ContainsFunc(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// self is how to call this program again and mean the same daemon.
func (e *env) self() string {
	text := program
	for _, f := range []struct{ name, value string }{
		{"--socket", e.flags.Socket}, {"--config", e.flags.Config}, {"--state-dir", e.flags.StateDir},
	} {
		if f.value != "" {
			text += " " + f.name + " " + shellWord(f.value)
		}
	}
	return text
}
