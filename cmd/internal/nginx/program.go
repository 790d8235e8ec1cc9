package nginx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Refusal is nginx's own judgement of its files.
type Refusal struct{ Words string }

func (r *Refusal) Error() string { return r.Words }

// ErrNotRunning: no process is the master that the files name.
var ErrNotRunning = errors.New("nginx is not running")

// programTime bounds one run of nginx, which may have to ask DNS.
const programTime = time.Minute

// Program is an installed nginx.
type Program struct {
	Path string // the program
	Conf string // its main file; empty: its own default
}

// Find returns the nginx of this host: name, or the one on PATH or in sbin, of
// which a user's PATH often knows nothing.
func Find(name string) (string, error) {
	if name != "" {
		return exec.LookPath(name)
	}
	for _, candidate := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(candidate); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no program nginx")
}

// Command is how one would type a call of it.
func (p Program) Command(args ...string) string {
	return strings.Join(append([]string{p.Path}, p.args(args...)...), " ")
}

func (p Program) args(args ...string) []string {
	if p.Conf != "" {
		args = append(args, "-c", p.Conf)
	}
	return args
}

// Test asks nginx whether its files are good; if not, the error is a Refusal.
func (p Program) Test(ctx context.Context) error {
	_, err := p.run(ctx, "-t")
	return err
}

// Files lists the files that make up the configuration, the main one first. It
// is a Refusal if nginx would not take them.
func (p Program) Files(ctx context.Context) ([]string, error) {
	dump, err := p.run(ctx, "-T")
	if err != nil {
		return nil, err
	}
	return dumpedFiles(dump), nil
}

// Reload tells the running master to read its files again. It returns before
// that is done.
func (p Program) Reload(ctx context.Context) error {
	_, err := p.run(ctx, "-s", "reload")
	return err
}

func (p Program) run(ctx context.Context, args ...string) (stdout []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path, p.args(args...)...)
	// Ctrl-C is for the caller to hear, who may be putting something back.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && problems.Len() > 0:
		return nil, &Refusal{strings.TrimSpace(problems.String())}
	case err != nil:
		return nil, fmt.Errorf("running %s: %w", p.Command(args...), err)
	}
	return out.Bytes(), nil
}

// dumpedFiles finds the headings in what nginx -T prints. A comment that looks
// like one is taken for one; who reads the file will see that there is none.
func dumpedFiles(dump []byte) []string {
	var files []string
	for line := range bytes.Lines(dump) {
		name, ok := bytes.CutPrefix(bytes.TrimRight(line, "\r\n"), []byte("# configuration file "))
		if name, colon := bytes.CutSuffix(name, []byte(":")); ok && colon && filepath.IsAbs(string(name)) {
			files = append(files, string(name))
		}
	}
	return files
}

// Master returns the process id of the running master. pidFile is what the
// configuration says of it, empty if nothing.
func (p Program) Master(ctx context.Context, pidFile string) (int, error) {
	built, err := p.built(ctx)
	if err != nil {
		return 0, err
	}
	file := cmp.Or(pidFile, built["--pid-path"])
	if !filepath.IsAbs(file) {
		file = filepath.Join(built["--prefix"], file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrNotRunning, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("%w: %s holds no process id", ErrNotRunning, file)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
		return 0, fmt.Errorf("%w: process %d, which %s names, has ended", ErrNotRunning, pid, file)
	}
	return pid, nil
}

// built are the paths that were compiled in.
func (p Program) built(ctx context.Context) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	out, err := exec.CommandContext(ctx, p.Path, "-V").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("running %s -V: %w", p.Path, err)
	}
	built := map[string]string{"--prefix": "/usr/local/nginx", "--pid-path": "logs/nginx.pid"}
	for _, word := range strings.Fields(string(out)) {
		if key, value, ok := strings.Cut(word, "="); ok {
			built[key] = strings.Trim(value, "'")
		}
	}
	return built, nil
}

// Workers are the children of a master. A reload that was taken starts new
// ones; the old ones end once their requests have.
func Workers(master int) ([]int, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", master, master))
	if err != nil {
		return nil, fmt.Errorf("listing the workers of nginx: %w", err)
	}
	var pids []int
	for _, word := range strings.Fields(string(raw)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("listing the workers of nginx: %w", err)
		}
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// Setting returns the argument of a directive outside of all blocks; empty if
// it is not there.
func (c *Config) Setting(name string) string {
	for i := range c.Directives {
		if d := &c.Directives[i]; d.Name() == name && len(d.words) > 1 {
			return d.word(1)
		}
	}
	return ""
}
