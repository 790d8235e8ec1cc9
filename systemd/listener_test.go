package systemd_test

import (
	"errors"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/systemd"

	"github.com/google/go-cmp/cmp"
)

func TestUnitsAreFoundByControlGroup(t *testing.T) {
	tests := map[string]struct{ groups, want string }{
		"cgroup v2":                       {"0::/system.slice/charactier-backend-green.service\n", "charactier-backend-green.service"},
		"cgroup v1":                       {"4:memory:/system.slice/x.service\n1:name=systemd:/system.slice/charactier-backend-green.service\n", "charactier-backend-green.service"},
		"both":                            {"1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n", "a.service"},
		"both, the named one unused":      {"1:name=systemd:/\n0::/system.slice/b.service\n", "b.service"},
		"an instance":                     {"0::/system.slice/system-charactier\\x2dbackend.slice/charactier-backend@blue.service\n", "charactier-backend@blue.service"},
		"a group below the unit":          {"0::/system.slice/docker.service/payload\n", "docker.service"},
		"a unit below the unit":           {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/node.service\n", "user@1000.service"},
		"a session":                       {"0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"},
		"a name that the kernel has too":  {"0::/system.slice/_cpu.service\n", "cpu.service"},
		"an escaped name":                 {"0::/system.slice/odd\\x2dname.service\n", "odd\\x2dname.service"},
		"a colon in it":                   {"0::/system.slice/a:b.service\n", "a:b.service"},
		"a slice":                         {"0::/system.slice\n", ""},
		"nothing of systemd":              {"0::/docker/0123456789ab\n", ""},
		"a unit of another systemd":       {"0::/../../system.slice/x.service\n", ""},
		"the root":                        {"0::/\n", ""},
		"nothing":                         {"", ""},
		"controllers of v1 say nothing":   {"4:memory:/system.slice/x.service\n", ""},
		"something else's name hierarchy": {"2:name=elogind:/x.service\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := systemd.UnitOf(tt.groups); got != tt.want {
				t.Errorf("the unit is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheKernelsTablesAreRead(t *testing.T) {
	const table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000000000000000000000000000:1389 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0000000000000000FFFF00000100007F:C000 0000000000000000FFFF00000100007F:1388 01 00000000:00000000 00:00000000 00000000  1000        0 4713 1 0000000000000000 20 4 30 10 -1
   3: B80D0120000000000000000001000000:0050 00000000000000000000000001000000:FFFF 06 00000000:00000000 03:00000D9C 00000000     0        0 0 3 0000000000000000
`
	got, err := systemd.ReadTCP(strings.NewReader(table))
	want := []string{
		"127.0.0.1:5000 0.0.0.0:0 0A 4711",
		"[::]:5001 [::]:0 0A 4712",
		"127.0.0.1:49152 127.0.0.1:5000 01 4713",
		"[2001:db8::1]:80 [::1]:65535 06 0",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("the table is read as (-want +got), %v:\n%s", err, diff)
	}
	for _, bad := range []string{"0: 0100007F:1388 0", "0: 0100007F 0:0 0A 0 0 0 0 0 1", "0: 01000:1388 00000000:0000 0A 0 0 0 0 0 1", "0: 0100007F:1388 0000000000000000:0000 0A 0 0 0 0 0 1"} {
		if got, err := systemd.ReadTCP(strings.NewReader("heading\n" + bad + "\n")); err == nil {
			t.Errorf("%q is read as %q", bad, got)
		}
	}

	const sockets = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 100 /run/a.sock
0000000000000000: 00000003 00000000 00000000 0001 03 101 /run/a.sock
0000000000000000: 00000002 00000000 00010000 0001 01 102 /run/with a space.sock
0000000000000000: 00000002 00000000 00010000 0001 01 103
0000000000000000: 00000002 00000000 00010000 0001 01 104 @abstract
`
	for path, want := range map[string]string{"/run/a.sock": "100", "/run/with a space.sock": "102", "@abstract": "104", "/run/b.sock": ""} {
		got, err := systemd.ReadUnix(strings.NewReader(sockets), path)
		if inodes := strings.Join(slices.Collect(maps.Keys(got)), " "); inodes != want || err != nil {
			t.Errorf("on %s listens %q, %v; want %q", path, inodes, err, want)
		}
	}
}

func TestListenersAreFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a socket")
	for _, address := range []string{"tcp 127.0.0.1:0", "tcp [::1]:0", "tcp :0", "tcp4 0.0.0.0:0", "unix " + path} {
		network, address, _ := strings.Cut(address, " ")
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		where := []string{l.Addr().String()}
		switch tcp, ok := l.Addr().(*net.TCPAddr); {
		case !ok:
			where = []string{"unix:" + path, "unix:" + filepath.Dir(path) + "/./a socket"}
		case tcp.IP.IsUnspecified():
			_, port, _ := net.SplitHostPort(where[0])
			where = append(where, "127.0.0.1:"+port, ":"+port, "localhost:"+port)
		}
		for _, where := range where {
			got, err := systemd.ListenerOf(where)
			if err != nil || got.PID != os.Getpid() || got.UID != uint32(os.Geteuid()) || !strings.Contains(got.Command, filepath.Base(os.Args[0])) {
				t.Errorf("on %s, where we listen as %s, is %+v, %v", where, address, got, err)
			}
			dir, err := got.Directory()
			args, err2 := got.Arguments()
			if here, _ := os.Getwd(); dir != here || !slices.Equal(args, os.Args) {
				t.Errorf("we run in %s with %q, %v, %v", dir, args, err, err2)
			}
		}
		l.Close()
		if got, err := systemd.ListenerOf(where[0]); !errors.Is(err, systemd.ErrNoListener) {
			t.Errorf("after we have gone on %s is %+v, %v", where[0], got, err)
		}
	}
}

func TestPeersAreFound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address := l.Addr().String()
	if got, err := systemd.PeersOf(address); len(got) != 0 || err != nil {
		t.Errorf("nobody is connected, and it is %v, %v", got, err)
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := systemd.PeersOf(address)
	if err != nil || len(got) != 1 || got[0].PID != os.Getpid() {
		t.Errorf("we are connected, and it is %v, %v", got, err)
	}
	if got, err := systemd.PeersOf("unix:/run/x.sock"); err == nil {
		t.Errorf("of a unix socket it is %v", got)
	}
}
