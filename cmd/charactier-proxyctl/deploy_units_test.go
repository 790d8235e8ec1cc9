package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher/deploy"
	"charactier-proxy/systemd"
)

func TestABuildIsBoundedAsTheConfigurationSays(t *testing.T) {
	cfg, err := config.Parse("c.yaml", []byte("services: {backend: {listen: '127.0.0.1:5080', build: {memory_max: 1GiB, cpu_weight: 2, io_weight: 3, tasks_max: 400}}}"))
	if err != nil {
		t.Fatal(err)
	}
	s := cfg.DeployServices()[0]
	got := buildCommand(deploy.Command{
		Unit: "u", Line: "make", MemoryMax: s.MemoryMax, CPUWeight: s.CPUWeight, IOWeight: s.IOWeight, TasksMax: s.TasksMax,
	})
	want := systemd.Command{
		Unit: "u", Argv: []string{"/bin/sh", "-c", "make"}, MemoryMax: 1 << 30, CPUWeight: 2, IOWeight: 3, TasksMax: 400, Private: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
