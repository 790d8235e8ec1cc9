package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

// Facts are what was found on this machine.
type Facts struct {
	Now  time.Time
	Root bool // we may look at everything
	Deep bool // what takes time or the network was asked for too

	ConfigPath string
	ConfigFile File           // as it lies on the disk
	Config     *config.Config // what the file says, or the built-in one
	ConfigErr  error          // why the file cannot be used; Config is the built-in one then

	Daemon   Daemon
	StateDir string
	State    State
	Socket   File
	RunDir   File // the directory of Socket

	Systemd error           // why systemd could not be asked
	Own     map[string]Unit // the units that come with us, by name
	// Services are sorted by name.
	Services []*Service
	// Texts are the unit files and files of variables of the whole machine.
	Texts []Text

	Nginx      Nginx
	Disks      []Disk
	Clock      Clock
	Deploy     File // deploy.root
	Releases   File // its directory of releases
	Repository Repository
}

// Daemon is what the daemon says of itself.
type Daemon struct {
	Status control.Status
	Err    error // it gave no status
}

// State is the state directory.
type State struct {
	Dir     File
	Err     error // it cannot be told which slots are active
	Saved   switcher.State
	Damaged []string // files that were set aside
}

// Service is one service of the configuration.
type Service struct {
	Name   string
	Config *config.Service
	Active switcher.Slot // empty where nobody knows
	Since  time.Time
	Held   *switcher.Held
	Slots  []*Slot // blue, green
	Door   Answer  // of our own listener
	Old    Unit    // the single unit of before there were two slots
	Shared []File
	// BuildUser is an error where the user is missing.
	BuildUser error
}

// Slot is one slot of a service.
type Slot struct {
	Name     switcher.Slot
	Address  string
	Active   bool
	Busy     bool // requests or streams are on it, as the daemon says
	Unit     Unit
	Owner    Owner
	Peers    []Process // local processes that are connected to it
	PeersErr error
	Answer   Answer
	Link     Link
	// Gone says that the process runs in a directory that was removed.
	Gone string
	// Runs is where the process runs; "" if nobody can tell.
	Runs string
}

// Owner is who listens on an address; Err where nobody could be found, with
// Nobody where that is certain.
type Owner struct {
	Process
	Nobody bool
	Shared string // processes of several units listen there, Process is one of them
	Err    error
}

// Process is a process of this machine.
type Process struct {
	PID     int
	Command string
	Unit    string // that it belongs to
}

func (p Process) String() string {
	if p.Unit == "" {
		return fmt.Sprintf("%s (pid %d)", p.Command, p.PID)
	}
	return fmt.Sprintf("%s (pid %d of %s)", p.Command, p.PID, p.Unit)
}

// Unit is what systemd knows of a unit; without a name there is none.
type Unit struct {
	Name string
	Err  error // it could not be asked

	Load, Active, Sub, Result, Enabled string

	Restarts         uint32
	ExitCode, Status int32 // how its main process ended last: CLD_… of waitid(2), and status or signal
	PID              uint32
	Since            time.Time // when Active became what it is
	Journal          []string  // its last lines, where it does not run well

	Environment []string // NAME=value, as the unit says
	Variables   []EnvironmentFile
	Directory   string   // WorkingDirectory=
	Root        string   // RootDirectory=
	Commands    []string // what it executes, each with its arguments
	StopTimeout time.Duration
	Files       []Text // the unit file and its drop-ins
}

// Exists says that systemd has such a unit.
func (u Unit) Exists() bool {
	return u.Name != "" && u.Err == nil && u.Load != "not-found" && u.Load != ""
}

// runsIn says that the unit runs what the link leads to, as a deploy has it.
func (u Unit) runsIn(link string) bool {
	return deploy.UnitView{Directory: u.Directory, Root: u.Root, Commands: u.Commands, Environment: u.Environment}.RunsIn(link)
}

// Runs says that it has processes, or is just about to.
func (u Unit) Runs() bool {
	return u.Active == "active" || u.Active == "activating" || u.Active == "reloading"
}

// EnvironmentFile is an EnvironmentFile= of a unit.
type EnvironmentFile struct {
	Path     string
	Optional bool // a dash before the path
	Text     Text
	Err      error
}

// Text is a file that was read, and the unit that it belongs to.
type Text struct {
	Path, Unit, Content string
}

// File is what is known of a file or directory without opening it.
type File struct {
	Path     string
	Err      error
	Mode     fs.FileMode
	UID, GID uint32
	Changed  time.Time
}

// Missing says that it is certain that there is none.
func (f File) Missing() bool { return errors.Is(f.Err, fs.ErrNotExist) }

// Hidden says that we may not look.
func (f File) Hidden() bool { return errors.Is(f.Err, fs.ErrPermission) }

// Link is the symbolic link that leads a slot to its release.
type Link struct {
	Path   string // empty: deploys leave the slot alone
	Target string // as it is written in the link
	Real   string // where it leads in the end
	Err    error
}

// missing says that it is certain that there is none.
func (l Link) missing() bool { return l.Target == "" && errors.Is(l.Err, fs.ErrNotExist) }

// Answer is how an address answered one request for the health route.
type Answer struct {
	Asked   bool
	Err     error // no complete answer
	Refused bool  // certain: nobody listens
	Silent  bool  // not even the connection came about in time

	Status   int
	Location string
	Ours     string        // X-Charactier-Proxy-Error: the answer is the proxy's own
	KeepIdle time.Duration // Keep-Alive: timeout=; zero if it does not say
	Excerpt  string        // the begin of the body
	Healthy  bool          // as the configuration has it
	// OtherHost is a Host field with which the answer is a healthy one, where it
	// is not with the configured one.
	OtherHost string
}

// Nginx is the configuration of the nginx on this machine.
type Nginx struct {
	Missing    bool   // there is no nginx
	Refused    string // what it says of a configuration that it does not take
	Err        error  // it could not be asked
	Directives []Directive
}

// Disk is the file system below a path.
type Disk struct {
	Path   string
	Holds  string // what we keep there
	Free   uint64 // bytes
	Inodes uint64 // free ones
	Few    bool   // of all its inodes less than one in fifty is free
	Need   uint64 // bytes that must be free
	Err    error
}

// Clock is how far the system's clock can be trusted.
type Clock struct {
	Synchronised bool
	Err          error
}

// Repository is what deploys are made from.
type Repository struct{ Err error }
