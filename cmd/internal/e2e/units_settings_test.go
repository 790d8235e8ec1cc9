package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/systemd"
)

func TestUnitsTellThatTheirFilesHaveChanged(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		for what, path := range map[string]string{
			"its file": "text.service", "its first drop-in": "first.service.d/x.conf", "one more drop-in": "more.service.d/y.conf",
		} {
			unit, _, _ := strings.Cut(path, ".")
			unit += ".service"
			writeUnits(t, u, map[string]string{unit: "[Service]\nExecStart=/bin/sleep 1000\n"})
			if what == "one more drop-in" {
				mustWrite(t, "/run/systemd/system/"+unit+".d/x.conf", "[Service]\nNice=1\n")
			}
			if err := u.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			// What nobody runs is read anew whenever somebody asks.
			if err := u.Start(t.Context(), unit); err != nil {
				t.Fatal(err)
			}
			outdated := func() bool {
				s, err := u.Settings(t.Context(), unit)
				if err != nil {
					t.Fatal(err)
				}
				return s.Outdated
			}
			if outdated() {
				t.Errorf("%s: it has changed before it did", what)
			}
			mustWrite(t, "/run/systemd/system/"+path, "[Service]\nExecStart=\nExecStart=/bin/sleep 1001\n")
			if !outdated() {
				t.Errorf("%s has changed, which is not said", what)
			}
			if err := u.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			if outdated() {
				t.Errorf("%s is said to have changed after it was read", what)
			}
		}
	})
}

// mustWrite writes a file that is newer than any before, also where the clock of
// the disk is coarse.
func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	later := time.Now().Add(time.Second)
	err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, later, later))
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnitsTellTheirSettings(t *testing.T) {
	inside(t, func(t *testing.T) {
		u := connectUnits(t)
		writeUnits(t, u, map[string]string{
			"set@.service": "[Service]\nExecStart=/bin/sleep 1000\nWorkingDirectory=-/srv/%i\nEnvironment=A=1 \"B=two words\"\n" +
				"EnvironmentFile=/etc/%i.env\nEnvironmentFile=-/etc/more/*.env\nTimeoutStopSec=35s\n",
			"endless.service": "[Service]\nExecStartPre=/bin/true /srv/x\nExecStart=/bin/sleep 1000\nRootDirectory=/srv/root\nTimeoutStopSec=infinity\n",
		})
		for unit, want := range map[string]systemd.UnitSettings{
			"set@blue.service": {
				Environment:      []string{"A=1", "B=two words"},
				EnvironmentFiles: []systemd.EnvironmentFile{{Path: "/etc/blue.env"}, {Path: "/etc/more/*.env", Optional: true}},
				WorkingDirectory: "/srv/blue", StopTimeout: 35 * time.Second, Commands: []string{"/bin/sleep 1000"},
			},
			"endless.service":   {RootDirectory: "/srv/root", Commands: []string{"/bin/true /srv/x", "/bin/sleep 1000"}},
			"not-there.service": {},
		} {
			got, err := u.Settings(t.Context(), unit)
			got.DropIns = nil // of the machine's own, if any
			if unit == "not-there.service" {
				got.StopTimeout = 0 // systemd's default
			}
			if len(got.Environment) == 0 {
				got.Environment = nil
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", unit, err, diff)
			}
		}
	})
}
