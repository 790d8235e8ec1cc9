package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"charactier-proxy/systemd"
)

// listening is a unit that listens on addresses, and is ready once it does.
func listening(addresses, more string) string {
	return fmt.Sprintf("[Service]\nType=notify\nNotifyAccess=all\nEnvironment='%s=%s'\n%s\nExecStart=%s\n", listenVar, addresses, more, testProgram())
}

func TestListenerOfNamesTheUnit(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		unix := "/run/green.sock"
		writeUnits(t, u, map[string]string{
			"charactier-backend-green.service": listening("tcp/127.0.0.1:5001 unix/"+unix, "User=daemon\nDynamicUser=no\nExecStartPre=+/bin/sh -c 'rm -f "+unix+"; chmod a+w /run'"),
			"charactier-backend@blue.service":  listening("tcp/[::]:5000", ""),
			"cpu.service":                      listening("tcp/127.0.0.1:5003", ""), // its control group must be escaped
			`odd\x2dname.service`:              listening("tcp/127.0.0.1:5004", "Delegate=yes\nExecStartPost=/bin/sh -c 'mkdir -p /sys/fs/cgroup/$$(sed -n s/^0:://p /proc/self/cgroup)/below.service && echo $MAINPID >/sys/fs/cgroup/$$(sed -n s/^0:://p /proc/self/cgroup)/below.service/cgroup.procs'"),
			"lazy.socket":                      "[Socket]\nListenStream=127.0.0.1:5005\n",
			"lazy.service":                     "[Service]\nExecStart=/bin/sleep 1000\n",
			"six.service":                      listening("tcp6/[::]:5008", ""),
			"other.service":                    listening("tcp6/[::]:5007", ""),
			"exact.service":                    listening("tcp/127.0.0.1:5008", ""),
			"wild.service":                     listening("tcp4/0.0.0.0:5007", ""),
		})
		for _, unit := range []string{"charactier-backend-green.service", "charactier-backend@blue.service", "cpu.service", `odd\x2dname.service`, "lazy.socket", "wild.service", "other.service", "six.service", "exact.service"} {
			if err := u.Start(t.Context(), unit); err != nil {
				t.Fatal(err, failure(t, err).Journal)
			}
		}
		tests := map[string]string{
			"127.0.0.1:5001": "charactier-backend-green.service",
			"unix:" + unix:   "charactier-backend-green.service",
			"127.0.0.1:5000": "charactier-backend@blue.service", // by the wildcard of IPv6
			"[::1]:5000":     "charactier-backend@blue.service",
			"localhost:5000": "charactier-backend@blue.service",
			":5001":          "charactier-backend-green.service",
			"0.0.0.0:5001":   "charactier-backend-green.service",
			"127.0.0.1:5003": "cpu.service",
			"127.0.0.1:5004": `odd\x2dname.service`,
			"127.0.0.1:5005": "init.scope", // nobody has come yet
			"127.0.0.1:5007": "wild.service",
			"127.0.0.1:5008": "exact.service",
			"[::1]:5007":     "other.service",
			"[::1]:5008":     "six.service",
		}
		for address, want := range tests {
			l, err := systemd.ListenerOf(address)
			if err != nil || l.Unit != want {
				t.Errorf("on %s listens %+v, %v; want %s", address, l, err, want)
			}
			s, _ := u.State(t.Context(), want)
			if s.MainPID != 0 && l.PID != int(s.MainPID) {
				t.Errorf("on %s listens process %d, want %d", address, l.PID, s.MainPID)
			}
		}
		if l, _ := systemd.ListenerOf("127.0.0.1:5001"); l.UID != 1 || !strings.Contains(l.Command, testProgram()) {
			t.Errorf("the listener is %+v", l)
		}
		for _, address := range []string{"127.0.0.1:5099", "[::1]:5001", "127.0.0.2:5001", "unix:/run/nobody.sock"} {
			if l, err := systemd.ListenerOf(address); !errors.Is(err, systemd.ErrNoListener) {
				t.Errorf("on %s listens %+v, %v; want nobody", address, l, err)
			}
		}
		for _, address := range []string{"", "5000", "127.0.0.1:http-ish"} {
			if l, err := systemd.ListenerOf(address); err == nil || errors.Is(err, systemd.ErrNoListener) {
				t.Errorf("on %q listens %+v, %v", address, l, err)
			}
		}
	})
}

func TestListenerOfTellsAStranger(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		l, err := net.Listen("tcp", "127.0.0.1:5000")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		stranger, err := systemd.ListenerOf("127.0.0.1:5000")
		if err != nil || stranger.PID != os.Getpid() || strings.Contains(stranger.Unit, "charactier") {
			t.Errorf("the stranger is %+v, %v", stranger, err)
		}

		// A socket that two units have is both's.
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		child := exec.Command("sleep", "1000")
		child.ExtraFiles = []*os.File{f}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { child.Process.Kill(); child.Wait() }()
		if l, err := systemd.ListenerOf("127.0.0.1:5000"); err != nil || l.PID != os.Getpid() {
			t.Errorf("of two of one unit it is %+v, %v; want the eldest", l, err)
		}
		run(t, "sh", "-c", fmt.Sprintf("mkdir -p /sys/fs/cgroup/system.slice/other.service && echo %d >/sys/fs/cgroup/system.slice/other.service/cgroup.procs", child.Process.Pid))
		_, err = systemd.ListenerOf("127.0.0.1:5000")
		var shared *systemd.SharedError
		if !errors.As(err, &shared) || len(shared.Listeners) != 2 || !strings.Contains(err.Error(), "of other.service (sleep 1000)") {
			t.Errorf("of a shared socket: %v", err)
		}

		// Somebody of another network is not on this one's address.
		writeUnits(t, u, map[string]string{"away.service": listening("tcp/127.0.0.1:5009", "PrivateNetwork=yes")})
		if err := u.Start(t.Context(), "away.service"); err != nil {
			t.Fatal(err)
		}
		if l, err := systemd.ListenerOf("127.0.0.1:5009"); !errors.Is(err, systemd.ErrNoListener) {
			t.Errorf("in another network listens %+v, %v", l, err)
		}
	})
}

func TestPeersOfNamesWhoGoesToASlotItself(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{
			"slot.service":     listening("tcp/[::]:5000", ""),
			"frontend.service": listening("tcp/127.0.0.1:3000", "Environment="+connectVar+"=127.0.0.1:5000"),
			"worker.service":   listening("tcp/127.0.0.1:3001", "Environment="+connectVar+"=[::1]:5000"),
		})
		if peers, err := systemd.PeersOf("127.0.0.1:5000"); len(peers) != 0 || err != nil {
			t.Errorf("to nobody go %v, %v", peers, err)
		}
		for _, unit := range []string{"slot.service", "frontend.service", "worker.service"} {
			if err := u.Start(t.Context(), unit); err != nil {
				t.Fatal(err)
			}
		}
		peers, err := systemd.PeersOf("127.0.0.1:5000")
		if err != nil || len(peers) != 1 || peers[0].Unit != "frontend.service" {
			t.Errorf("to the slot go %v, %v", peers, err)
		}
		if peers, err := systemd.PeersOf("localhost:5000"); err != nil || len(peers) != 2 {
			t.Errorf("to the slot by name go %v, %v", peers, err)
		}
	})
}

func TestListenerOfNeedsRootForOthers(t *testing.T) {
	const address = "127.0.0.1:5000"
	switch part() {
	case outside:
		box := bootForParts(t, nil)
		runPart(t, box, "start")
		runPart(t, box, "look", "daemon")
	case "start":
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{"slot.service": listening("tcp/"+address, "")})
		if err := u.Start(t.Context(), "slot.service"); err != nil {
			t.Fatal(err)
		}
	default:
		l, err := systemd.ListenerOf(address)
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("to somebody else the listener is %+v, %v", l, err)
		}
	}
}
