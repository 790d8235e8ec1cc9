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
	Deploy       Deploy
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
	Streams                Streams
	Hold                   Hold
	InFlight               InFlight
	Failover               Failover
	MaxBody                Bytes
	MaxIdleSlotConnections int

	Build  Build
	Shared []string // paths within a release's directory of the service
	Gate   Gate
	Bake   Bake
	Warm   time.Duration
	Role   Role
	Assets Assets
}

// Slot is one of a service's two places.
type Slot struct {
	Address string
	Unit    string // systemd unit; empty if none
	Link    string // symbolic link to its release; empty if deploy leaves it alone
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

// Streams says how event streams and upgraded connections are ended on a slot
// that was left.
type Streams struct {
	Grace, Spread, Bound time.Duration
	CloseCode            int
}

// Hold bounds the requests that wait while a service is held.
type Hold struct {
	Requests int
	Time     time.Duration
}

// InFlight bounds the requests that are under way at one slot, and those that
// wait for one of them to end.
type InFlight struct {
	Requests, Queue int
	Wait            time.Duration
}

// Failover says whether the traffic leaves a dead slot by itself.
type Failover struct {
	Enabled bool
	After   time.Duration
}

// Build says how a release of a service is made.
type Build struct {
	Directory           string
	Commands            []string
	Environment         []string // NAME=value
	User                string
	Timeout             time.Duration
	MemoryMax           Bytes
	CPUWeight, IOWeight int
	TasksMax            int
	Reuse               []string
}

// Gate says what a slot must show before it gets traffic.
type Gate struct {
	Tries         int
	Interval      time.Duration
	Identity      bool
	ReleaseHeader string
	Smoke         []string // "PATH STATUS TEXT"
	WarmUp        []string
}

// Bake says how a newly active slot is compared with the one before.
type Bake struct {
	Time         time.Duration
	MinRequests  int
	Errors       int // percentage points
	Slowdown     int // percent
	Slack        time.Duration
	Inconclusive string // keep or return
}

// Role says how a slot learns whether it is active.
type Role struct {
	Path, Command, Unit string
	Timeout, Refresh    time.Duration
	Required            bool
}

// Assets are files of releases that are not active any more.
type Assets struct{ Path, Directory string }

// Deploy says where releases come from and where they are kept.
type Deploy struct {
	Root, Repository, Ref string
	Keep                  int
	MinFree               Bytes
	Log                   string
	Hooks                 []string // "before STEP: COMMAND"
	HookTimeout           time.Duration
	Notify                string
	NotifyOn              []string
}

// Server bounds what clients may do, on all listeners.
type Server struct {
	HeaderTimeout, IdleTimeout time.Duration
	MaxHeader                  Bytes
	MaxConnections             int
	MaxConnectionsPerAddress   int
	ShutdownTimeout            time.Duration
	FastLane                   bool
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
