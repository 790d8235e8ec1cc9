package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"charactier-proxy/cmd/internal/sdbox"
	"charactier-proxy/systemd"

	"go.uber.org/goleak"
)

// Some tests must run inside a machine with systemd, as root there. Such a test
// boots one and runs this test binary in it, which finds the same test again
// and in the environment which part of it is meant.

const (
	partVar    = "CHARACTIER_PROXY_E2E_PART"
	listenVar  = "CHARACTIER_PROXY_E2E_LISTEN" // makes the binary a program that listens on these, as in "tcp/127.0.0.1:5000"
	connectVar = "CHARACTIER_PROXY_E2E_CONNECT"
	outside    = ""
	everything = "everything"
	insideDir  = "/opt/e2e"
)

func part() string { return os.Getenv(partVar) }

// testProgram is where the box has this test binary.
func testProgram() string { return filepath.Join(insideDir, filepath.Base(os.Args[0])) }

// inside runs a test in a box of its own, unless it is there already.
func inside(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	if part() == outside {
		runPart(t, bootForParts(t, nil), everything)
		return
	}
	test(t)
}

func bootForParts(t *testing.T, files map[string]string) *sdbox.Box {
	t.Helper()
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return sdbox.Boot(t, sdbox.Options{
		Binds: map[string]string{insideDir: filepath.Dir(program)},
		Files: files,
	})
}

// runPart runs a part of the calling test in the box, as user if one is named.
func runPart(t *testing.T, box *sdbox.Box, part string, user ...string) {
	t.Helper()
	argv := []string{testProgram(), "-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=4m"}
	if len(user) > 0 {
		argv = append([]string{"setpriv", "--reuid=" + user[0], "--regid=" + user[0], "--init-groups", "--"}, argv...)
	}
	cmd := box.Command(t.Context(), argv...)
	cmd.Env = append(os.Environ(), partVar+"="+part, "TMPDIR=/tmp", "HOME=/tmp")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("inside the box, %s: %v\n%s", part, err, out)
	}
}

// connectUnits is a connection that the test closes, and that must leave no
// goroutine then.
func connectUnits(t *testing.T) *systemd.Units {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	u, err := systemd.ConnectUnits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// writeUnits puts unit files, by their names, where they last until the box is
// off.
func writeUnits(t *testing.T, u *systemd.Units, units map[string]string) {
	t.Helper()
	for name, text := range units {
		if err := os.WriteFile(filepath.Join("/run/systemd/system", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// serveAddresses is the program that listens: it is ready once it does, and
// ends on SIGTERM.
func serveAddresses() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for address := range strings.FieldsSeq(os.Getenv(listenVar)) {
		network, rest, _ := strings.Cut(address, "/")
		l, err := net.Listen(network, rest)
		if err != nil {
			return err
		}
		defer l.Close()
	}
	for address := range strings.FieldsSeq(os.Getenv(connectVar)) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	if err := systemd.NewNotifier().Ready("it listens"); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// runAsProgram ends the process if it was not started to run tests.
func runAsProgram() {
	serve := serveAddresses
	if root := os.Getenv(gitVar); root != "" {
		serve = func() error { return serveRepositories(root) }
	} else if os.Getenv(listenVar) == "" && os.Getenv(connectVar) == "" {
		return
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run runs a command inside the box.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}
