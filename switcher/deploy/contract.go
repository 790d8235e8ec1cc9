package deploy

import (
	"context"
	"time"

	"charactier-proxy/switcher"
)

// Daemon is what a deploy needs of the daemon.
type Daemon interface {
	// View tells where traffic is.
	View(ctx context.Context) (View, error)
	// EndStreams ends the event streams and WebSockets of a slot that is not active,
	// each where that costs nothing or, if it comes to no such place in time, anywhere.
	EndStreams(ctx context.Context, service string, slot switcher.Slot) (ended, cut int64, err error)
	// Reserve keeps others from moving traffic until the lease is closed or lost.
	// The error wraps [switcher.ErrBusy] where somebody else is at work.
	Reserve(ctx context.Context, kind switcher.Kind, services []string, reason string) (Lease, error)
}

// Lease is a reservation at the daemon.
type Lease interface {
	// Asked gives the name of whoever wants the deploy to stop.
	Asked() <-chan string
	// Lost is closed when the daemon does not keep the reservation any more.
	Lost() <-chan struct{}
	// Step tells the daemon, and all who watch it, where the deploy is.
	Step(ctx context.Context, step, text string) error
	// Move switches the services to their standby slots, or rolls them back, all
	// in one instant, and does not wait for the drain. bake is how long the new
	// slots are watched: zero not at all, negative each service's own time.
	Move(ctx context.Context, kind switcher.Kind, services []string, bake time.Duration, reason string) (switcher.Record, error)
	// End closes the lease and has the history say how the deploy ended. exonerate are
	// bad releases that are not bad any more.
	End(ctx context.Context, r switcher.Record, exonerate []string) error
	Close()
}

// View is what the daemon says of traffic.
type View struct {
	Services map[string]ServiceView
	// Moving says that an operation is under way, so that traffic may be elsewhere
	// the next moment.
	Moving bool
}

// ServiceView is one service.
type ServiceView struct {
	Active switcher.Slot
	Held   bool
	Bake   *switcher.BakeResult // of the active slot; nil if there was none
	Bad    []switcher.BadRelease
	Slots  map[switcher.Slot]SlotView
}

// SlotView is one slot.
type SlotView struct {
	Healthy           bool
	Health            string // what the last probe said, if it was bad; empty too if there was none yet
	InFlight, Streams int64
	StreamsUntil      time.Time // when the streams are ended; zero if there are none
	// Role is what the slot took; Wanted what it should have taken, and empty
	// where slots are not told.
	Role, Wanted, RoleError string
}

// Units is what a deploy needs of systemd.
type Units interface {
	// Start waits for the result of the unit's start. Stop waits for its end, and
	// does nothing to a unit that does not run.
	Start(ctx context.Context, unit string) error
	Stop(ctx context.Context, unit string) error
	// Running says whether the unit runs or is about to. The error tells of a
	// unit that cannot be started at all: not there, or masked.
	Running(ctx context.Context, unit string) (bool, error)
	// Files is what the unit's files say.
	Files(ctx context.Context, unit string) (UnitView, error)
	// Life says whether the unit is up, and which of its runs that is.
	Life(ctx context.Context, unit string) (Life, error)
	// Tail are the last lines that the unit wrote in a run, or in its newest if
	// none is named, as far as they can be read.
	Tail(ctx context.Context, unit, run string) []string
	// Exited waits until the unit does not run any more, and says how it ended; nil
	// means that it cannot be told any longer.
	Exited(ctx context.Context, unit string) error
	// Enable makes the first ones start at a boot and the others not.
	Enable(ctx context.Context, enabled, disabled []string) error
	// Owner names the unit of the process that listens on an address, and the
	// process for people; both are empty where nobody listens.
	Owner(address string) (unit, process string, err error)
	// Serving are the processes that listen on an address, as far as they can be
	// looked into.
	Serving(address string) ([]Process, error)
}

// Releases is what a deploy needs of the directories that releases live in.
type Releases interface {
	// Resolve finds out what a source means now, without making anything of it.
	Resolve(ctx context.Context, s Source) (Origin, error)
	// Fetch begins the release: the source's files in a directory that is not a
	// release yet. Beginning it again throws away what was there.
	Fetch(ctx context.Context, o Origin, release string, services []Service) error
	// Build makes the service's part of it. What the commands print goes to the
	// file log and, line by line, to say.
	Build(ctx context.Context, release string, s Service, log string, say func(line string)) error
	// Seal makes it a release that never changes again.
	Seal(ctx context.Context, release string) error
	// Sealed reports whether it is one.
	Sealed(release string) (bool, error)
	// Discard removes what Fetch and Build made, if it was not sealed.
	Discard(release string) error
	// CheckShared reports what Build would miss of what a service shares.
	CheckShared(service string, names []string) error
	// Point leads a slot's link to a release.
	Point(link, release string, s Service) error
	// Pointed tells what a link leads to.
	Pointed(link string) (Aim, error)
	// Restore leads a link to where it led before, and removes it where there was
	// none.
	Restore(link, target string) error
	// Mark notes that a release did not prove itself.
	Mark(release, reason string) error
	// Prune removes what nobody needs, never one of those in use.
	Prune(keep int, inUse []string) (removed []string, err error)
	// Free returns how many bytes are free.
	Free() (uint64, error)
}

// Aim is what a slot's link leads to. All of it is empty where there is no link;
// Release and Revision are where it leads elsewhere than to a release.
type Aim struct{ Target, Release, Revision string }

// Source is what an operator asks for: one of the three.
type Source struct {
	Ref      string `json:"ref,omitempty"`      // branch, tag or revision of the repository
	Artifact string `json:"artifact,omitempty"` // a directory or an archive that was built elsewhere
	Release  string `json:"release,omitempty"`  // one that is kept
}

// Origin is what a source means.
type Origin struct {
	Source   Source `json:"source"`
	Revision string `json:"revision"`
	Subject  string `json:"subject,omitempty"` // of the commit
	Release  string `json:"release"`           // its name, chosen before it is made
	// Built says that the release is there already, or comes built.
	Built bool `json:"built,omitempty"`
}

// Service is what a deploy knows of a service's configuration.
type Service struct {
	Name  string
	Slots map[switcher.Slot]SlotConfig

	Directory           string // in the repository
	Commands            []string
	Environment         []string
	User                string
	Timeout             time.Duration
	MemoryMax           uint64
	CPUWeight, IOWeight uint64
	TasksMax            uint64
	Reuse, Shared       []string

	Tries         int
	Interval      time.Duration
	Identity      bool
	ReleaseHeader string
	Smoke         []Smoke
	WarmUp        []string

	DrainTimeout time.Duration
	StreamsTime  time.Duration // the longest that ending its streams may take
	Warm         time.Duration
	RoleRequired bool
	RoleTimeout  time.Duration
	RoleWays     int // how many ways a slot is told on, one after the other
}

// SlotConfig is a slot's configuration.
type SlotConfig struct{ Address, Unit, Link string }

// Smoke is a request that a slot must answer.
type Smoke struct {
	Path   string
	Status int
	Text   string // part of the answer; empty means any
}

// Prober asks a slot for its health once. header is the value of the field
// that names the release, where the service has one.
type Prober func(ctx context.Context, s Service, slot switcher.Slot) (header string, err error)
