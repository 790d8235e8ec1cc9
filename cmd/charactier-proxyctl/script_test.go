package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"charactier-proxy/cmd/internal/paths"
)

// update writes the outputs that the scripts and the golden files expect anew.
var update = flag.Bool("update", false, "write the expected outputs anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		program:      main,
		"fakedaemon": fakeDaemon,
		"journalctl": fakeJournal,
	})
}

// fakeJournal is the command journalctl of scripts: it prints the file JOURNAL,
// after the arguments that it was given are in JOURNAL.args.
func fakeJournal() {
	file := os.Getenv("JOURNAL")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file+".args", []byte(strings.Join(os.Args[1:], " ")+"\n"), 0o600)
	}
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("CHARACTIER_PROXY_SOCKET", env.WorkDir+"/sock")
			env.Setenv("CHARACTIER_PROXY_STATE_DIR", env.WorkDir+"/state")
			env.Setenv("CHARACTIER_PROXY_CONFIG", env.WorkDir+"/config.yaml")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Values[running{}] = map[string]*exec.Cmd{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":        exits,
			"start":        startCommand,
			"signal":       signalCommand,
			"ended":        endedCommand,
			"await-socket": awaitSocket,
			"await-text":   awaitText,
			"stranger":     strangerCommand,
		},
	})
}

// exits runs a command and checks its exit code: exits CODE COMMAND ARG...
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// running is the key of the commands that start began.
type running struct{}

func commands(ts *testscript.TestScript) map[string]*exec.Cmd {
	return ts.Value(running{}).(map[string]*exec.Cmd)
}

// startCommand runs a command beside, its output in NAME.out and NAME.err:
// start NAME COMMAND ARG...
func startCommand(ts *testscript.TestScript, _ bool, args []string) {
	name := args[0]
	path, err := exec.LookPath(args[1])
	ts.Check(err)
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, key := range []string{"PATH", "TZ", "GORACE", paths.EnvSocket, paths.EnvStateDir, paths.EnvConfig} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	out, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	errOut, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	cmd.Stdout, cmd.Stderr = out, errOut
	ts.Check(cmd.Start())
	commands(ts)[name] = cmd
	ts.Defer(func() { stopCommand(cmd, out, errOut) })
}

// stopCommand clears up after a script, however it went.
func stopCommand(cmd *exec.Cmd, files ...*os.File) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill() // it may have ended this instant
		_ = cmd.Wait()
	}
	for _, f := range files {
		_ = f.Close() // it was only written to by others
	}
}

// signalCommand sends a signal: signal NAME INT|TERM.
func signalCommand(ts *testscript.TestScript, _ bool, args []string) {
	number := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[1]]
	ts.Check(commands(ts)[args[0]].Process.Signal(number))
}

// endedCommand waits for a command and checks its exit code: ended NAME CODE.
func endedCommand(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	cmd := commands(ts)[args[0]]
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() }) // then the code is wrong
	defer late.Stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		ts.Fatalf("waiting for %s: %v", args[0], err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("%s ended with code %d, want %d", args[0], got, want)
	}
}

// poll asks until ok or it has taken far too long.
func poll(ts *testscript.TestScript, what string, ok func() bool) {
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			ts.Fatalf("waited too long for %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// awaitSocket waits until somebody listens on a socket: await-socket PATH.
func awaitSocket(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	poll(ts, "a daemon on "+path, func() bool {
		c, err := net.Dial("unix", path)
		if err != nil {
			return false
		}
		return c.Close() == nil
	})
}

// awaitText waits until a file contains a text: await-text FILE TEXT.
func awaitText(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	poll(ts, args[1]+" in "+path, func() bool {
		raw, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(raw), args[1])
	})
}

// strangerCommand answers every request with 200 and writes where it does so
// into a file, in the place of the word STRANGER: stranger FILE.
func strangerCommand(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	ts.Defer(server.Close)
	path := ts.MkAbs(args[0])
	raw, err := os.ReadFile(path)
	ts.Check(err)
	text := strings.ReplaceAll(string(raw), "STRANGER", server.Listener.Addr().String())
	ts.Check(os.WriteFile(path, []byte(text), 0o600))
}
