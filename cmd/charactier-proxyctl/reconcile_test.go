package main

import (
	"testing"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// The daemon is not root, and reconcile is: a daemon that was made to say
// anything must not have it stop what is no slot's.
func TestReconcileTouchesOnlyUnitsOfTheConfiguration(t *testing.T) {
	cfg := &config.Config{Services: map[string]*config.Service{"backend": {Name: "backend", Slots: map[string]*config.Slot{
		"blue": {Unit: "backend-blue.service"}, "green": {Unit: "backend-green.service"},
	}}}}
	said := control.ServiceStatus{Name: "backend", Active: switcher.Blue, Slots: []control.SlotStatus{
		{Name: switcher.Blue, Unit: "backend-blue.service"}, {Name: switcher.Green, Unit: "ssh.service"},
	}}
	got := reconcilable(said, cfg)
	if got.Active.Unit != "backend-blue.service" || got.Standby.Unit != "" {
		t.Errorf("active %q, standby %q, want the configured unit and none", got.Active.Unit, got.Standby.Unit)
	}
	said.Name = "another"
	if got = reconcilable(said, cfg); got.Active.Unit != "" || got.Standby.Unit != "" {
		t.Errorf("of a service that is not configured: active %q, standby %q", got.Active.Unit, got.Standby.Unit)
	}
}
