package config

import (
	"net/netip"
	"time"

	"charactier-proxy/health"
	"charactier-proxy/switcher"
)

// Config is the whole configuration. What its fields mean stands beside their
// keys in the tables [globalKeys] and [serviceKeys].
type Config struct {
	Services     map[string]*Service // by name, at least one
	Server       Server
	TrustedPeers Peers
	Admin        Admin
	Control      Control
	Log          Log
	AccessLog    AccessLog
}

// Service is one application behind the proxy.
type Service struct {
	Name                   string
	Listen                 []string         // addresses, see [Network]
	Slots                  map[string]*Slot // "blue" and "green", always both
	Initial                switcher.Slot
	Protocol               string
	Upgrades               []string
	Health                 Health
	Timeouts               Timeouts
	DrainTimeout           time.Duration
	Hold                   Hold
	MaxBody                Bytes
	MaxIdleSlotConnections int
}

// Slot is one of a service's two places.
type Slot struct {
	Address string
	Unit    string // systemd unit; empty if none
}

// Health says how the slots are probed.
type Health struct {
	Path, Method, Host string
	Interval, Timeout  time.Duration
	Rise, Fall         int
	Status             []health.StatusRange
	Body               string
}

// Timeouts bound the waits on the way to a slot and back.
type Timeouts struct {
	Connect, ResponseHeader, SlotIdle, Progress, StreamIdle, HalfClose time.Duration
}

// Hold bounds the requests that wait while a service is held.
type Hold struct {
	Requests int
	Time     time.Duration
}

// Server bounds what clients may do, on all listeners.
type Server struct {
	HeaderTimeout, IdleTimeout time.Duration
	MaxHeader                  Bytes
	MaxConnections             int
	ShutdownTimeout            time.Duration
}

// Peers are those whose forwarded headers are believed.
type Peers struct {
	Networks []netip.Prefix
	Unix     bool // peers on unix sockets
}

// Admin is the daemon's own listener for health and metrics.
type Admin struct{ Listen string }

// Control says who may use the control socket, by group name; empty means
// nobody but root.
type Control struct{ Group, ReadGroup string }

// Log is the daemon's own log.
type Log struct{ Level, Format string }

// AccessLog is the log with one line for each request.
type AccessLog struct {
	Enabled bool
	Path    string // empty: stderr
	Query   string
}

// newService returns a service without any values, with both of its slots.
func newService(name string) *Service {
	return &Service{Name: name, Slots: map[string]*Slot{blue: {}, green: {}}}
}

const (
	blue  = string(switcher.Blue)
	green = string(switcher.Green)
)

// Default returns what runs without a file.
func Default() *Config {
	r := &reader{file: "built-in defaults", at: map[string]position{}}
	c, err := r.parse(nil)
	if err != nil {
		panic(err) // the tables contradict themselves: found by every test
	}
	return c
}
