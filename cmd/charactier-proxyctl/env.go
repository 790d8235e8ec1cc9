package main

import (
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher/control"
)

// env is everything that a verb may see of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	uid, pid       int
	args           []string // of this command
	now            func() time.Time
	version        string

	isTerminal  bool // stdout is a terminal
	errTerminal bool // stderr is a terminal
	canAsk      bool // stdin and stderr are terminals: somebody can answer
	colour      bool // stdout may be coloured
	errColour   bool // stderr may be coloured
	plain       bool // nothing but ASCII
	width       func() int

	regain time.Duration // how long an answer that never came is asked after
	notice time.Duration // how long a question is silent; zero: always

	flags  paths.Flags // --config, --state-dir, --socket
	warned bool        // about the daemon's version
}

// newEnv is the env of this process.
func newEnv() *env {
	e := &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, uid: os.Geteuid(), pid: os.Getpid(), now: time.Now, version: version,
		isTerminal:  term.IsTerminal(int(os.Stdout.Fd())),
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		width:       terminalWidth,
		regain:      regainTime,
		notice:      noticeTime,
	}
	e.canAsk = e.errTerminal && term.IsTerminal(int(os.Stdin.Fd()))
	colours := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	e.colour, e.errColour = e.isTerminal && colours, e.errTerminal && colours
	e.plain = plainLocale(os.Getenv)
	return e
}

// terminalWidth is stdout's width in columns; 80 where it is not known.
func terminalWidth() int {
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// plainLocale reports whether the user asked for a locale without UTF-8. Who
// asked for none, as under cron, gets UTF-8.
func plainLocale(getenv func(string) string) bool {
	for _, key := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(key)); v != "" {
			return !strings.Contains(v, "utf-8") && !strings.Contains(v, "utf8")
		}
	}
	return false
}

func (e *env) paths() paths.Paths { return paths.ForClient(e.flags, e.getenv, e.uid) }

// client calls the daemon on the chosen socket.
func (e *env) client() *control.Client {
	return &control.Client{Socket: e.paths().Socket, OwnVersion: e.version, OtherVersion: e.warnVersion}
}

func (e *env) warnVersion(daemon string) {
	if e.warned {
		return
	}
	e.warned = true
	e.warnf("the daemon is version %s, this command is %s", clean(daemon), e.version)
	e.hintf("systemctl restart charactier-proxy loses no request, but cuts streams")
}
