package e2e

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/systemd"
)

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
