package main

import (
	"context"
	"fmt"
	"path/filepath"

	"charactier-proxy/switcher/control"
)

// oursConfig names what must be named; all else is the shipped default, with the
// probes of both slots, the limits and the counters.
const oursConfig = `services:
  backend:
    listen: {{.Listen}}
    slots:
      blue: {address: "{{.Blue}}", unit: ""}
      green: {address: "{{.Green}}", unit: ""}
admin: {listen: "{{.Admin}}"}
control: {group: ""}
{{- if .AccessLog}}
access_log: {enabled: true, path: "{{.AccessLog}}"}
{{- end}}
{{.More}}
`

// startOurs starts a build of charactier-proxy in front of the slot, which is
// both of its slots. More are further lines of its configuration.
func startOurs(program, more string) func(context.Context, *world, setup) (*instance, error) {
	return func(ctx context.Context, w *world, s setup) (*instance, error) {
		addrs, err := freeAddrs(2)
		if err != nil {
			return nil, err
		}
		dir, err := w.scratch("ours")
		if err != nil {
			return nil, err
		}
		file, socket := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "control.sock")
		values := map[string]string{"Listen": addrs[0], "Admin": addrs[1], "Blue": s.slots[0], "Green": s.slots[1], "More": more}
		if s.accessLog {
			values["AccessLog"] = filepath.Join(dir, "access.log")
		}
		if err := fill(file, oursConfig, values); err != nil {
			return nil, err
		}
		c, err := w.spawn("charactier-proxy", w.cores.contender, []string{"STATE_DIRECTORY=", "RUNTIME_DIRECTORY="},
			program, "--config", file, "--state-dir", filepath.Join(dir, "state"), "--socket", socket)
		if err != nil {
			return nil, err
		}
		in := &instance{addr: addrs[0], child: c, control: &control.Client{Socket: socket}}
		if err := c.await(ctx, in.healthy); err != nil {
			in.stop()
			return nil, err
		}
		return in, nil
	}
}

// healthy says whether both slots are, so that a switch is not refused.
func (in *instance) healthy(ctx context.Context) error {
	status, err := in.control.Status(ctx)
	if err != nil {
		return err
	}
	for _, slot := range status.Services[0].Slots {
		if slot.Health.State != "healthy" {
			return fmt.Errorf("%s is %s", slot.Name, slot.Health.State)
		}
	}
	return answers("http://" + in.addr + healthPath)(ctx)
}
