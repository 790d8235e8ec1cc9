package systemd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"charactier-proxy/systemd"

	"github.com/google/go-cmp/cmp"
)

// The child's part in a test, and what it needs to know.
const (
	roleVar    = "TEST_ROLE"
	addressVar = "TEST_ADDRESS"
)

// activated is the child: it does what systemd's service would, and prints what
// it saw.
func activated(role string) int {
	if role != "stranger" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	}
	in, err := systemd.Listeners()
	if err != nil {
		fmt.Println(err)
		return 0
	}
	defer in.Close()
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if v, ok := os.LookupEnv(name); ok {
			fmt.Printf("%s=%s is left in the environment\n", name, v)
		}
	}
	err = map[string]func(*systemd.Inherited) error{
		"list":      list,
		"stranger":  list,
		"address":   byAddress,
		"names":     byName,
		"again":     takeAgain,
		"leak":      leak,
		"served":    serveOne,
		"not there": bindAnother,
	}[role](in)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func list(in *systemd.Inherited) error {
	for _, s := range in.Untaken() {
		fmt.Println(s.Name, s.Addr.Network())
	}
	return nil
}

func byAddress(in *systemd.Inherited) error {
	for address := range strings.FieldsSeq(os.Getenv(addressVar)) {
		network, address, _ := strings.Cut(address, "|")
		l, err := in.ByAddress(network, address)
		if errors.Is(err, systemd.ErrNotInherited) {
			fmt.Println("none")
			continue
		}
		if err != nil {
			return err
		}
		fmt.Println("found", l.Addr().Network())
		l.Close()
	}
	return nil
}

func byName(in *systemd.Inherited) error {
	seen := map[string]bool{}
	for range 2 {
		l, err := in.ByName("http")
		if err != nil {
			return err
		}
		defer l.Close()
		seen[l.Addr().String()] = true
	}
	_, err := in.ByName("metrics")
	fmt.Println(len(seen), "addresses;", err)
	return list(in)
}

func takeAgain(in *systemd.Inherited) error {
	first, err := in.ByName("http")
	if err != nil {
		return err
	}
	first.Close()
	second, err := in.ByName("http")
	if err != nil {
		return err
	}
	defer second.Close()
	return acceptOne(second)
}

func serveOne(in *systemd.Inherited) error {
	l, err := in.Listen(context.Background(), "tcp", os.Getenv(addressVar))
	if err != nil {
		return err
	}
	defer l.Close()
	return acceptOne(l)
}

func bindAnother(in *systemd.Inherited) error {
	l, err := in.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	return list(in)
}

func acceptOne(l net.Listener) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.WriteString(c, "served")
	return err
}

// leak prints the sockets that a child of the child inherits.
func leak(in *systemd.Inherited) error {
	l, err := in.ByName("http")
	if err != nil {
		return err
	}
	defer l.Close()
	out, err := exec.Command("/bin/sh", "-c", "ls -l /proc/self/fd").CombinedOutput()
	if bytes.Contains(out, []byte("socket:")) {
		fmt.Printf("a socket leaks:\n%s", out)
	}
	return err
}

// activate runs the child with files and returns what it printed.
func activate(t *testing.T, role, names, address string, files ...*os.File) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.ExtraFiles = files
	cmd.Env = append(os.Environ(),
		roleVar+"="+role, addressVar+"="+address,
		"GORACE=atexit_sleep_ms=0", // or each child sleeps a second under -race
		"LISTEN_PID=1", fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+names)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("activated child: %v\n%s", err, out)
	}
	return string(out)
}

// socketFile opens a listening socket, as a socket unit does.
func socketFile(t *testing.T, network, address string) (f *os.File, at string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err = l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

func TestInheritedSocketsKeepTheirNames(t *testing.T) {
	tcp, _ := socketFile(t, "tcp", "127.0.0.1:0")
	unix, _ := socketFile(t, "unix", filepath.Join(t.TempDir(), "s"))
	got := activate(t, "list", "http:control", "", tcp, unix)
	if want := "http tcp\ncontrol unix\n"; got != want {
		t.Errorf("child saw %q, want %q", got, want)
	}
}

func TestSocketsMeantForAnotherProcessAreLeftAlone(t *testing.T) {
	tcp, _ := socketFile(t, "tcp", "127.0.0.1:0")
	if got := activate(t, "stranger", "http", "", tcp); got != "" {
		t.Errorf("child saw %q, want nothing", got)
	}
}

func TestNoSocketsIsNoError(t *testing.T) {
	if got := activate(t, "list", "", ""); got != "" {
		t.Errorf("child saw %q, want nothing", got)
	}
}

func TestSocketsAreFoundByTheAddressThatListenWouldBind(t *testing.T) {
	dir := t.TempDir()
	v4, v4at := socketFile(t, "tcp4", "127.0.0.1:0")
	any6, any6at := socketFile(t, "tcp", ":0")
	any4, any4at := socketFile(t, "tcp4", "0.0.0.0:0")
	unix, unixat := socketFile(t, "unix", filepath.Join(dir, "s"))
	port := func(address string) string { _, p, _ := net.SplitHostPort(address); return p }

	tests := []struct{ network, address, want string }{
		{"tcp", v4at, "found tcp"},
		{"tcp4", v4at, "found tcp"},
		{"tcp", "localhost:" + port(v4at), "found tcp"},
		{"tcp", ":" + port(v4at), "none"},
		{"tcp", "127.0.0.2:" + port(v4at), "none"},
		{"tcp", "127.0.0.1:0", "none"},
		{"tcp", ":" + port(any6at), "found tcp"},
		{"tcp", "[::]:" + port(any6at), "found tcp"},
		{"tcp", "127.0.0.1:" + port(any6at), "none"},
		{"tcp", "0.0.0.0:" + port(any4at), "found tcp"},
		{"unix", unixat, "found unix"},
		{"unix", filepath.Join(dir, "x") + "/../s", "found unix"},
		{"unix", filepath.Join(dir, "other"), "none"},
		{"unix", v4at, "none"},
	}
	var asked, want []string
	for _, tt := range tests {
		asked = append(asked, tt.network+"|"+tt.address)
		want = append(want, tt.want)
	}
	got := activate(t, "address", "", strings.Join(asked, " "), v4, any6, any4, unix)
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(got), "\n")); diff != "" {
		t.Errorf("of %q (-want +got):\n%s", asked, diff)
	}
}

func TestSocketsOfOneNameAreHandedOutOneByOne(t *testing.T) {
	a, _ := socketFile(t, "tcp", "127.0.0.1:0")
	b, _ := socketFile(t, "tcp", "127.0.0.1:0")
	c, _ := socketFile(t, "unix", filepath.Join(t.TempDir(), "s"))
	got := activate(t, "names", "http:http:control", "", a, b, c)
	if want := "2 addresses; no such socket was inherited\ncontrol unix\n"; got != want {
		t.Errorf("child saw %q, want %q", got, want)
	}
}

func TestASocketCanBeTakenAgainAfterItsListenerWasClosed(t *testing.T) {
	f, address := socketFile(t, "tcp", "127.0.0.1:0")
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	activate(t, "again", "http", "", f)
	checkServed(t, c)
}

func TestConnectionsWaitForTheNextProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	f, address := socketFile(t, "tcp", "127.0.0.1:0")
	unix, _ := socketFile(t, "unix", path)
	for range 3 { // three lives of one service
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		activate(t, "served", "http:control", address, f, unix)
		checkServed(t, c)
		c.Close()
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("systemd's socket was removed: %v", err)
	}
}

func TestListenOpensWhatWasNotInherited(t *testing.T) {
	f, _ := socketFile(t, "tcp", "127.0.0.1:0")
	if got, want := activate(t, "not there", "http", "", f), "http tcp\n"; got != want {
		t.Errorf("child left %q untaken, want %q", got, want)
	}
}

func TestInheritedSocketsDoNotLeakIntoChildren(t *testing.T) {
	f, _ := socketFile(t, "tcp", "127.0.0.1:0")
	if got := activate(t, "leak", "http", "", f); got != "" {
		t.Error(got)
	}
}

func TestWhatDoesNotListenIsRefused(t *testing.T) {
	good, _ := socketFile(t, "tcp", "127.0.0.1:0")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()

	got := activate(t, "list", "http:conn:null", "", good, conn, null)
	for _, want := range []string{
		"inheriting socket conn: tcp " + c.LocalAddr().String() + " does not listen\n",
		"inheriting socket null: ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("child saw %q, want %q in it", got, want)
		}
	}
}

func TestNothingInheritedBehavesAsEmpty(t *testing.T) {
	var in *systemd.Inherited
	if _, err := in.ByName("http"); !errors.Is(err, systemd.ErrNotInherited) {
		t.Errorf("ByName = %v", err)
	}
	if _, err := in.ByAddress("udp", "127.0.0.1:1"); err == nil || errors.Is(err, systemd.ErrNotInherited) {
		t.Errorf("ByAddress of udp = %v, want the network refused", err)
	}
	l, err := in.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if left, err := in.Untaken(), in.Close(); len(left) > 0 || err != nil {
		t.Errorf("Untaken, Close = %v, %v", left, err)
	}
}

func checkServed(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := io.ReadAll(c); string(got) != "served" {
		t.Errorf("client got %q, %v; want to be served", got, err)
	}
}
