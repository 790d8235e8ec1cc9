package role

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxOutput bounds how much of a command's output is kept, from its start.
const maxOutput = 4 << 10

// killedTime is how long a command that was killed may keep its output open.
const killedTime = time.Second

// Command tells a process by a command line, which must exit 0. It finds ROLE,
// SERVICE, SLOT, ADDRESS, RELEASE and GENERATION in its environment, and PATH,
// HOME, USER and LANG as they are.
type Command struct {
	Line    string // for /bin/sh
	Address string
}

// Tell is a [Way]. When ctx ends, the command is killed with everything that it
// started.
func (c Command) Tell(ctx context.Context, o Order) error {
	out := &head{}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.Line)
	cmd.Dir, cmd.Env = "/", c.environment(o)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killedTime
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // something in the background has its output
		return nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	}
	return fmt.Errorf("running %q: %w%s", c.Line, err, out)
}

func (c Command) environment(o Order) []string {
	env := []string{
		"ROLE=" + string(o.Role), "SERVICE=" + o.Service, "SLOT=" + string(o.Slot), "ADDRESS=" + c.Address,
		"RELEASE=" + o.Release, "GENERATION=" + strconv.FormatUint(o.Generation, 10),
	}
	for _, name := range []string{"PATH", "HOME", "USER", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// head keeps the beginning of what is written to it.
type head struct{ bytes.Buffer }

func (h *head) Write(p []byte) (int, error) {
	h.Buffer.Write(p[:min(len(p), max(0, maxOutput-h.Len()))])
	return len(p), nil
}

// String is the last line kept, to be appended to an error.
func (h *head) String() string {
	lines := strings.Split(strings.TrimSpace(h.Buffer.String()), "\n")
	last := lines[len(lines)-1]
	if last == "" {
		return ""
	}
	return fmt.Sprintf(": %.200q", last)
}
