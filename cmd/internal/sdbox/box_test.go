package sdbox_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/cmd/internal/sdbox"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestABoxKeepsWhatAMachineKeeps(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "given"), []byte("by the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	box := sdbox.Boot(t, sdbox.Options{
		Binds: map[string]string{"/opt/host": host},
		Keep:  []string{"/srv/kept"},
		Files: map[string]string{"/etc/systemd/system/mark.service": `
[Service]
Type=oneshot
ExecStart=/bin/sh -c "echo booted >>/var/mark"
[Install]
WantedBy=multi-user.target
`},
	})
	if got := box.Run("systemctl", "is-system-running"); got != "running" {
		t.Errorf("the box is %s, want running; failed:\n%s", got, box.Run("systemctl", "--failed"))
	}
	if got := box.Read("/opt/host/given"); got != "by the host" {
		t.Errorf("the bound file holds %q", got)
	}
	box.Run("systemctl", "enable", "--quiet", "mark.service")
	box.Write("/run/gone", "")
	box.Write("/srv/kept/file", "on a disk")

	box.Reboot()
	if _, err := os.Stat(box.Path("/run/gone")); err == nil {
		t.Error("/run survived a reboot")
	}
	if got := box.Read("/srv/kept/file"); got != "on a disk" {
		t.Errorf("what is to be kept holds %q after a reboot", got)
	}
	box.Crash()
	box.Up()
	if got := box.Read("/var/mark"); got != "booted\nbooted\n" {
		t.Errorf("an enabled unit left %q after two boots", got)
	}
	if got := len(strings.Fields(box.Run("journalctl", "--field=_BOOT_ID"))); got != 3 {
		t.Errorf("the journal holds %d boots, want 3", got)
	}
}

func TestBoxesHaveNetworksOfTheirOwn(t *testing.T) {
	options := sdbox.Options{Files: map[string]string{
		"/etc/systemd/system/hello.socket":   "[Socket]\nListenStream=127.0.0.1:5080\nAccept=yes\n",
		"/etc/systemd/system/hello@.service": "[Service]\nExecStart=/bin/cat /etc/machine-id\nStandardInput=socket\nStandardOutput=socket\n",
	}}
	a, b := sdbox.Boot(t, options), sdbox.Boot(t, options)
	for _, box := range []*sdbox.Box{a, b} {
		box.Run("systemctl", "start", "hello.socket")
		conn, err := box.Dial(t.Context(), "tcp", "127.0.0.1:5080")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		conn.Close()
		if want := box.Read("/etc/machine-id"); string(got) != want {
			t.Errorf("dialled in the box, read %q, %v; want %q", got, err, want)
		}
		out, err := box.NetCommand(t.Context(), "cat", "/proc/net/tcp").CombinedOutput()
		if err != nil || !strings.Contains(string(out), "0100007F:13D8") {
			t.Errorf("a host program in the box's network does not see its port: %v\n%s", err, out)
		}
	}
	// The host's port is its own.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := a.Dial(t.Context(), "tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("the box reaches the host")
	}
}
