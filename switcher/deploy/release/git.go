package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxOutput bounds what a command says that is kept.
	maxOutput = 16 << 20
	// killWait is how long what a killed command started may keep its output open.
	killWait = 5 * time.Second
)

// gitCall is one command.
type gitCall struct {
	args   []string
	env    []string
	stdout io.Writer
	show   func(line string)   // gets what it says on standard error
	hide   func(string) string // takes credentials out of that
}

// git runs a command that sees no configuration but what we give
// it.
func (m *mirror) git(ctx context.Context, c gitCall) error {
	c.env = append(c.env, "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1")
	return m.run(ctx, c, nil)
}

// gitOutput is git, for a command that answers little.
func (m *mirror) gitOutput(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := m.git(ctx, gitCall{args: args, stdout: &bounded{w: &out, left: maxOutput}})
	return out.String(), err
}

// settings are what every command is told, over every configuration.
func settings() [][2]string {
	return [][2]string{
		{"core.hooksPath", "/dev/null"},
		{"core.fsmonitor", "false"},
		{"core.askPass", ""},
		{"core.fsync", "all"},
		{"gc.autoDetach", "false"},
		{"maintenance.autoDetach", "false"},
		{"advice.detachedHead", "false"},
		{"submodule.recurse", "false"},
		{"protocol.version", "2"},
		// A connection that stands still for a minute is dead.
		{"http.lowSpeedLimit", "1"},
		{"http.lowSpeedTime", "60"},
	}
}

func (m *mirror) run(ctx context.Context, c gitCall, more [][2]string) error {
	cmd := exec.CommandContext(ctx, "git", append([]string{"--git-dir=" + m.dir}, c.args...)...)
	cmd.Dir = m.store.root
	cmd.Env = append(baseEnvironment(), c.env...)
	all := append(settings(), more...)
	for i, kv := range all {
		n := strconv.Itoa(i)
		cmd.Env = append(cmd.Env, "GIT_CONFIG_KEY_"+n+"="+kv[0], "GIT_CONFIG_VALUE_"+n+"="+kv[1])
	}
	cmd.Env = append(cmd.Env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(all)))
	said := &lines{show: c.show, hide: c.hide}
	cmd.Stdout, cmd.Stderr = c.stdout, said
	// A session of its own has no terminal to ask a question on, and can be
	// killed with all that it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killWait
	// If we are killed, what git started may live on for a moment: the lock is free
	// once all of it has ended.
	cmd.ExtraFiles = []*os.File{m.lock}
	err := runFromHere(cmd)
	said.flush()
	return explain(ctx, cmd, said, err)
}

// runFromHere keeps its thread until the command has ended, because that is what
// the command's death signal waits for.
func runFromHere(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// baseEnvironment is the part of ours that a command gets.
func baseEnvironment() []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "SSH_ASKPASS_REQUIRE=never",
		"GIT_ALLOW_PROTOCOL=" + strings.Join(schemes(), ":"),
		"GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_NO_LAZY_FETCH=1",
	}
	for _, name := range []string{
		"SSH_AUTH_SOCK", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
		"HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// gitRemote runs a command that reaches the repository, with the configuration
// of the user that this program runs as.
func (m *mirror) gitRemote(ctx context.Context, repo repository, c gitCall) error {
	home, err := homeOfUser()
	if err != nil {
		return err
	}
	system, err := m.systemConfig()
	if err != nil {
		return err
	}
	c.env = append(c.env, "HOME="+home, "GIT_CONFIG_SYSTEM="+system)
	c.hide = repo.hide.Replace
	ssh, err := m.sshCommand(ctx, c.env)
	if err != nil {
		return err
	}
	c.env = append(c.env, "GIT_SSH_COMMAND="+ssh)
	return m.run(ctx, c, [][2]string{
		// Not as arguments: those can be read by everybody.
		{"remote.origin.url", repo.url},
		{"fetch.unpackLimit", "1"},
	})
}

// homeOfUser is what the user database says: sudo may keep HOME as it was.
func homeOfUser() (string, error) {
	u, err := user.LookupId(strconv.Itoa(os.Geteuid()))
	if err != nil {
		return "", fmt.Errorf("finding the home of the user that git runs as: %w", err)
	}
	return u.HomeDir, nil
}

// systemConfig writes the configuration that lets git read a local repository
// of another owner. It must be a file: git takes the setting neither from a
// repository nor, for the program that serves a local one, from the environment.
func (m *mirror) systemConfig() (string, error) {
	path := filepath.Join(m.dir, "serve.config")
	const text = "[include]\n\tpath = /etc/gitconfig\n[safe]\n\tdirectory = *\n"
	if there, err := os.ReadFile(path); err == nil && string(there) == text {
		return path, nil
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// sshCommand is the configured one, made to ask nothing and to notice a dead
// connection.
func (m *mirror) sshCommand(ctx context.Context, env []string) (string, error) {
	var out bytes.Buffer
	err := m.run(ctx, gitCall{args: []string{"config", "--get", "core.sshCommand"}, env: env, stdout: &bounded{w: &out, left: 1 << 12}}, nil)
	if ctx.Err() != nil {
		return "", err
	}
	ssh := "ssh"
	if configured := strings.TrimSpace(out.String()); err == nil && configured != "" {
		ssh = configured
	}
	if program, _, _ := strings.Cut(ssh, " "); filepath.Base(program) != "ssh" {
		return ssh, nil // it may not know these options
	}
	return ssh + " -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=15", nil
}

// explain makes an error of what a command said.
func explain(ctx context.Context, cmd *exec.Cmd, said *lines, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("git is not installed: `apt-get install git`: %w", err)
	case ctx.Err() != nil:
		return fmt.Errorf("git %s was ended: %w", cmd.Args[2], context.Cause(ctx))
	}
	text := said.reason()
	if said.full {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if text != "" {
		return fmt.Errorf("git %s: %s (%w)", cmd.Args[2], text, err)
	}
	return fmt.Errorf("git %s: %w", cmd.Args[2], err)
}

// bounded fails once too much was written.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, fmt.Errorf("git says more than %d bytes", maxOutput)
	}
	return b.w.Write(p)
}

// lines splits what a command says on standard error. Progress ends its lines
// with a carriage return.
type lines struct {
	show func(string)
	hide func(string) string
	part []byte
	last []string // the last few that are no progress
	full bool     // one of them was about a full disk
}

const (
	maxLine  = 500
	keepLast = 8
)

func (l *lines) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == '\n' || b == '\r':
			l.line(b == '\n')
		case len(l.part) < maxLine:
			l.part = append(l.part, b)
		}
	}
	return len(p), nil
}

func (l *lines) flush() { l.line(true) }

func (l *lines) line(whole bool) {
	text := string(l.part)
	l.part = l.part[:0]
	if l.hide != nil {
		text = l.hide(text)
	}
	if text = tidy(text, maxLine); text == "" {
		return
	}
	if l.show != nil {
		l.show(text)
	}
	// git has no other way to tell.
	l.full = l.full || strings.Contains(text, "No space left on device") || strings.Contains(text, "Disk quota exceeded")
	if whole {
		l.last = append(l.last, text)
		l.last = l.last[max(0, len(l.last)-keepLast):]
	}
}

// reason is what the command gave as its reason to fail.
func (l *lines) reason() string {
	var reasons []string
	for _, text := range l.last {
		if strings.HasPrefix(text, "fatal: ") || strings.HasPrefix(text, "error: ") || strings.HasPrefix(text, "remote: ") {
			reasons = append(reasons, text)
		}
	}
	if len(reasons) == 0 {
		reasons = l.last
	}
	return strings.Join(reasons, "; ")
}
