package config_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/config"
)

func TestADiffSaysWhatHasToChange(t *testing.T) {
	const frontend = `
  frontend:
    listen: [127.0.0.1:3080]
    slots: {blue: {address: "127.0.0.1:3000"}, green: {address: "127.0.0.1:3001"}}
`
	for _, c := range []struct {
		name      string
		old, next string
		want      config.Changes
		line      string
	}{
		{name: "nothing", line: "no changes"},
		{
			name: "only how it is written",
			old:  "services: {backend: {health: {interval: 2s}, max_body: 65536, drain_timeout: 60s}}",
			next: "services:\n  backend:\n    max_body: 64KiB\n    drain_timeout: 1m\n",
			line: "no changes",
		},
		{
			name: "a service more",
			next: "services:\n  backend:" + frontend,
			want: config.Changes{Added: []string{"frontend"}, Opened: []string{"127.0.0.1:3080"}},
			line: "added service frontend",
		},
		{
			name: "a service less",
			old:  "services:\n  backend:" + frontend,
			want: config.Changes{Removed: []string{"frontend"}, Closed: []string{"127.0.0.1:3080"}},
			line: "removed service frontend",
		},
		{
			name: "an address moves to another service",
			old:  "services:\n  backend: {listen: [127.0.0.1:5080, 127.0.0.1:5090]}" + frontend,
			next: "services:\n  backend:\n  frontend: {listen: [127.0.0.1:3080, 127.0.0.1:5090], slots: {blue: {address: 127.0.0.1:3000}, green: {address: 127.0.0.1:3001}}}",
			want: config.Changes{
				Altered: []string{"backend", "frontend"},
				Keys:    []string{"services.backend.listen", "services.frontend.listen"},
			},
			line: "changed services.backend.listen, services.frontend.listen",
		},
		{
			name: "keys within a service",
			next: "services: {backend: {slots: {green: {address: \"127.0.0.1:5002\"}}, upgrades: []}}",
			want: config.Changes{
				Altered: []string{"backend"},
				Keys:    []string{"services.backend.slots.green.address", "services.backend.upgrades"},
			},
			line: "changed services.backend.slots.green.address, services.backend.upgrades",
		},
		{
			name: "keys that wait for a restart",
			next: "log: {level: debug, format: json}\ncontrol: {group: operators}\ntrusted_peers: [unix]\n",
			want: config.Changes{
				Keys:         []string{"control.group", "log.format", "log.level", "trusted_peers"},
				NeedsRestart: []string{"control.group", "log.format"},
			},
			line: "changed log.level, trusted_peers; waiting for a restart control.group, log.format",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, next := mustParse(t, c.old), mustParse(t, c.next)
			got := config.Diff(old, next)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("Diff (-want +got):\n%s", diff)
			}
			if got.String() != c.line {
				t.Errorf("String = %s\nwant     %s", got, c.line)
			}
			if got.None() != (c.line == "no changes") {
				t.Errorf("None = %v", got.None())
			}
		})
	}
}
