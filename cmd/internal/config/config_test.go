package config_test

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/health"
	"charactier-proxy/proxy"
	"charactier-proxy/switcher"
)

// compare treats netip's opaque values as such.
var compare = cmpopts.EquateComparable(netip.Prefix{})

// Scripts and units rely on these.
func TestTheBuiltInDefaultsAreTheFixedNames(t *testing.T) {
	c := config.Default()
	s := c.Services["backend"]
	if len(c.Services) != 1 || s == nil {
		t.Fatalf("services = %v, want backend alone", c.Services)
	}
	got := []any{s.Listen, *s.Slots["blue"], *s.Slots["green"], s.Initial, s.Health.Method, s.Health.Path, c.Admin.Listen}
	want := []any{
		[]string{"127.0.0.1:5080"},
		config.Slot{Address: "127.0.0.1:5000", Unit: "charactier-backend-blue.service", Link: "/srv/charactier/backend/blue"},
		config.Slot{Address: "127.0.0.1:5001", Unit: "charactier-backend-green.service", Link: "/srv/charactier/backend/green"},
		switcher.Blue, "GET", "/api/v1/health", "127.0.0.1:5081",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestTheDefaultsRaiseNoWarning(t *testing.T) {
	if w := config.Default().Warnings(); len(w) > 0 {
		t.Errorf("warnings = %q", w)
	}
}

// The connections to a slot must end before Node ends them, and those from
// nginx must outlive nginx's own limit.
func TestTheDefaultTimeoutsSuitNodeAndNginx(t *testing.T) {
	c := config.Default()
	if d := c.Services["backend"].Timeouts.SlotIdle; d >= 5*time.Second {
		t.Errorf("slot_idle = %v, want less than Node's 5s", d)
	}
	if d := c.Server.IdleTimeout; d <= 60*time.Second {
		t.Errorf("idle_timeout = %v, want more than nginx's 60s", d)
	}
}

func TestEveryValueHasItsKey(t *testing.T) {
	s := config.NewService("x")
	expectKeysFor(t, config.ServiceKeys(s), leaves(reflect.ValueOf(s).Elem(), "Service"), "Service.Name")
	c := &config.Config{}
	expectKeysFor(t, config.GlobalKeys(c), leaves(reflect.ValueOf(c).Elem(), "Config"), "Config.Services")
}

// expectKeysFor compares the places that the rows of a table point to with the
// leaves of a struct, of which one is not set by a key of its own.
func expectKeysFor(t *testing.T, keys []config.KeyInfo, leaves map[any]string, without string) {
	t.Helper()
	names := map[string]bool{}
	for _, k := range keys {
		if names[k.Name] {
			t.Errorf("key %s has two rows", k.Name)
		}
		names[k.Name] = true
		if leaves[k.Value] == "" {
			t.Errorf("key %s sets nothing, or what another key sets too", k.Name)
		}
		delete(leaves, k.Value)
		if k.Allowed == "" || k.Meaning == "" || k.Change == "" {
			t.Errorf("key %s is not described", k.Name)
		}
	}
	for _, name := range leaves {
		if name != without {
			t.Errorf("no key sets %s", name)
		}
	}
}

// leaves maps the address of each value within v to its name.
func leaves(v reflect.Value, name string) map[any]string {
	all := map[any]string{}
	switch {
	case v.Kind() == reflect.Map && v.Type().Elem() == reflect.TypeFor[*config.Slot]():
		for _, slot := range v.MapKeys() {
			merge(all, leaves(v.MapIndex(slot).Elem(), name+"."+slot.String()))
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[config.Peers]():
		for i := range v.NumField() {
			merge(all, leaves(v.Field(i), name+"."+v.Type().Field(i).Name))
		}
	default:
		all[v.Addr().Interface()] = name
	}
	return all
}

func merge(into, from map[any]string) {
	for k, v := range from {
		into[k] = v
	}
}

// full is a configuration without any zero value.
const full = `
services:
  backend:
    listen: [127.0.0.1:5080]
    protocol: h2c
    health: {host: backend.example, body: ok}
    max_body: 20MB
    in_flight: {requests: 100}
`

func TestTheDataPathGetsEveryValue(t *testing.T) {
	c := mustParse(t, full)
	services := c.ProxyServices()
	if len(services) != 1 {
		t.Fatalf("services = %v", services)
	}
	noZeroField(t, services[0], "Assets")
	noZeroField(t, c.SwitcherServices()[0])
	noZeroField(t, c.Services["backend"].BakePlan(), "Return")
	noZeroField(t, c.HealthCheck("backend"), "Header")
	noZeroField(t, c.ProxySettings(), "AccessLog")

	got := services[0]
	want := proxy.Service{
		Name: "backend", Slots: map[string]string{"blue": "127.0.0.1:5000", "green": "127.0.0.1:5001"},
		Protocol: proxy.H2C, Upgrades: []string{"websocket"},
		ConnectTimeout: 3 * time.Second, ResponseHeaderTimeout: 600 * time.Second, SlotIdleTimeout: 4 * time.Second,
		MaxIdleSlotConns: 1024, ProgressTimeout: 60 * time.Second, StreamIdleTimeout: 600 * time.Second,
		StreamSpread: 5 * time.Second, StreamBound: 10 * time.Second, StreamCloseCode: 1012,
		HalfCloseGrace: 10 * time.Second, MaxBodyBytes: 20e6, MaxRequests: 100, QueueRequests: 1000, QueueTime: 10 * time.Second, HoldRequests: 1000, HoldTime: 20 * time.Second,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
}

// noZeroField finds fields that an adapter forgot.
func noZeroField(t *testing.T, v any, but ...string) {
	t.Helper()
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		name := s.Type().Field(i).Name
		if s.Field(i).IsZero() && !strings.Contains(strings.Join(but, " "), name) {
			t.Errorf("%T.%s is not set", v, name)
		}
	}
}

func TestTheHealthCheckIsOneThatHealthTakes(t *testing.T) {
	check := mustParse(t, full).HealthCheck("backend")
	if err := check.Validate(); err != nil {
		t.Error(err)
	}
	want := health.Check{
		Method: "GET", Path: "/api/v1/health", Host: "backend.example", Protocol: health.H2C,
		Interval: 2 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3,
		Status: []health.StatusRange{{Low: 200, High: 299}}, Body: "ok",
	}
	if diff := cmp.Diff(want, check); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
}

func TestTheDefaultGroupNeedNotExistAndAChosenOneIsKept(t *testing.T) {
	for _, c := range []struct {
		control config.Control
		want    string
	}{
		{config.Control{Group: "no-such-group"}, "no-such-group"},
		{config.Control{Group: "operators", ReadGroup: "watchers"}, "watchers"},
		{config.Control{}, ""},
	} {
		if got := c.control.SocketGroup(); got != c.want {
			t.Errorf("SocketGroup of %+v = %q, want %q", c.control, got, c.want)
		}
	}
}

func TestProblemsHaveALineForLogs(t *testing.T) {
	_, err := config.Parse("c.yaml", []byte("admn: {}\nlog: {level: loud}\n"))
	problems, ok := err.(config.Problems)
	if !ok || len(problems) != 2 {
		t.Fatalf("Parse = %v, want two problems", err)
	}
	want := `c.yaml:1:1: admn: is not a key, did you mean "admin"? (and 1 more)`
	if got := problems.Summary(); got != want {
		t.Errorf("Summary = %s\nwant      %s", got, want)
	}
	if got := problems[1:].Summary(); got != problems[1].String() {
		t.Errorf("Summary of one problem = %s", got)
	}
}

// A long line is cut to what fits, around the place of the problem.
func TestTheCaretStandsBelowTheProblemInALongLine(t *testing.T) {
	_, err := config.Parse("c.yaml", []byte("x"+strings.Repeat(" ", 300)+": 1\nlog: { "+strings.Repeat(" ", 300)+"level: loud}\n"))
	lines := strings.Split(err.Error(), "\n")
	excerpt, caret := lines[len(lines)-2], lines[len(lines)-1]
	if at := strings.IndexByte(caret, '^'); at < 0 || !strings.HasPrefix(excerpt[at:], "loud") {
		t.Errorf("the caret is not below the value:\n%s\n%s", excerpt, caret)
	}
	for _, line := range lines[1:] {
		if len(line) > 120 && strings.Contains(line, " | ") {
			t.Errorf("a line of %d characters: %s", len(line), line)
		}
	}
}

// mustParse reads a file; an empty text stands for no file.
func mustParse(t *testing.T, text string) *config.Config {
	t.Helper()
	if text == "" {
		return config.Default()
	}
	c, err := config.Parse("c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
