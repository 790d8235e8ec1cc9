package doctor

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// Units tells what systemd knows of a unit. One that does not exist is no
// error.
type Units interface {
	Unit(ctx context.Context, name string) (Unit, error)
}

// Processes tells which processes of this machine have to do with an address.
type Processes interface {
	// Owner is who listens on it; with Nobody set if that is certain.
	Owner(address string) Owner
	// Peers are those that are connected to it.
	Peers(address string) ([]Process, error)
}

// Machine is the rest of the machine.
type Machine interface {
	Nginx(ctx context.Context) Nginx
	Disk(path string) (free, inodes, allInodes uint64, err error)
	Clock() Clock
	// User is an error if there is no such user.
	User(name string) error
	// Repository is an error if it cannot be reached.
	Repository(ctx context.Context, repository, ref string) error
	// Gone is the directory in which a process runs, if that was removed.
	Gone(pid int) string
	// Directory is where a process runs, if that can be seen and was not removed.
	Directory(pid int) string
	// Texts are the files in which somebody may have written an address down.
	Texts() []Text
}

// statusOf is the daemon.
type statusOf interface {
	Status(ctx context.Context) (control.Status, error)
}

// Sources are those who are asked.
type Sources struct {
	Now      time.Time
	UID, PID int
	Deep     bool
	// Config, StateDir and Socket are the daemon's paths; ConfigNamed says that
	// somebody named the first.
	Config, StateDir, Socket string
	ConfigNamed              bool

	Daemon    statusOf
	Units     Units // nil if systemd cannot be asked, and then:
	UnitsErr  error
	Processes Processes
	Machine   Machine
}

// Gather asks everybody once.
func Gather(ctx context.Context, s Sources) *Facts {
	f := &Facts{
		Now: s.Now, Root: s.UID == 0, Deep: s.Deep, ConfigPath: s.Config, StateDir: s.StateDir,
		Socket: look(s.Socket), RunDir: look(filepath.Dir(s.Socket)), Systemd: s.UnitsErr,
	}
	f.Daemon.Status, f.Daemon.Err = s.Daemon.Status(ctx)
	f.gatherConfig(s)
	f.gatherState()
	f.Nginx = s.Machine.Nginx(ctx)
	f.Own = map[string]Unit{}
	if s.Units != nil {
		for _, name := range ownUnits() {
			f.Own[name] = s.unit(ctx, name)
		}
	}
	f.Services = s.services(ctx, f)
	f.Texts = s.texts(f)
	f.gatherMachine(ctx, s)
	return f
}

func (f *Facts) gatherConfig(s Sources) {
	f.ConfigFile = look(s.Config)
	f.Config, f.ConfigErr = config.Load(s.Config)
	if errors.Is(f.ConfigErr, fs.ErrNotExist) && !s.ConfigNamed {
		f.ConfigErr = nil
	}
	if f.Config == nil || f.ConfigErr != nil {
		f.Config = config.Default()
	}
}

func (f *Facts) gatherState() {
	if dir := f.Daemon.Status.State.Dir; dir != "" {
		f.StateDir = dir
	}
	f.State.Dir = look(f.StateDir)
	f.State.Saved, f.State.Err = switcher.ReadState(f.StateDir)
	names, _ := os.ReadDir(f.StateDir) // the state has said why
	for _, n := range names {
		if strings.HasPrefix(n.Name(), "state.json.damaged-") {
			f.State.Damaged = append(f.State.Damaged, n.Name())
		}
	}
}

// gatherMachine asks for what belongs to no service.
func (f *Facts) gatherMachine(ctx context.Context, s Sources) {
	d := f.Config.Deploy
	f.Clock = s.Machine.Clock()
	f.Deploy, f.Releases = look(d.Root), look(filepath.Join(d.Root, "releases"))
	f.Disks = []Disk{s.disk(f.StateDir, "the state", stateNeeds)}
	if d.Log != "" {
		f.Disks = append(f.Disks, s.disk(filepath.Dir(d.Log), "the log of deploys", stateNeeds))
	}
	if f.deploys() {
		f.Disks = append(f.Disks, s.disk(d.Root, "the releases", uint64(d.MinFree)))
	}
	if s.Deep && d.Repository != "" {
		f.Repository.Err = s.Machine.Repository(ctx, d.Repository, d.Ref)
	}
}

// stateNeeds is room for the state and a long history.
const stateNeeds = 32 << 20

// disk looks at the file system of path, or of the directory that it will be
// made in.
func (s Sources) disk(path, holds string, need uint64) Disk {
	d := Disk{Path: path, Holds: holds, Need: need}
	for d.Path != "/" && look(d.Path).Missing() {
		d.Path = filepath.Dir(d.Path)
	}
	var all uint64
	d.Free, d.Inodes, all, d.Err = s.Machine.Disk(d.Path)
	d.Few = all > 0 && d.Inodes < all/50
	return d
}

func (s Sources) unit(ctx context.Context, name string) Unit {
	if name == "" || s.Units == nil {
		return Unit{Name: name, Err: s.UnitsErr}
	}
	u, err := s.Units.Unit(ctx, name)
	u.Name, u.Err = name, err
	return u
}

// services gathers all of them, sorted by name. Slots that do not answer take
// their time, so all are asked at once, after everybody else was: our own
// connections must not be taken for somebody's.
func (s Sources) services(ctx context.Context, f *Facts) []*Service {
	var all []*Service
	for _, name := range slices.Sorted(maps.Keys(f.Config.Services)) {
		all = append(all, s.service(ctx, f, f.Config.Services[name]))
	}
	hosts := append(f.Nginx.serverNames(), "localhost")
	var asking sync.WaitGroup
	for _, svc := range all {
		check := f.Config.HealthCheck(svc.Name)
		for _, slot := range svc.Slots {
			asking.Go(func() { slot.Answer = examineAnswer(ctx, slot.Address, check, hosts) })
		}
		if len(svc.Config.Listen) > 0 {
			patient := check
			patient.Timeout = doorTime
			asking.Go(func() { svc.Door = ask(ctx, svc.Config.Listen[0], patient.WithDefaults()) })
		}
	}
	asking.Wait()
	return all
}

// doorTime is how long our own listener may take: longer than a hold, so that a
// request that is held is not taken for a hang.
const doorTime = 12 * time.Second

func (s Sources) service(ctx context.Context, f *Facts, cfg *config.Service) *Service {
	svc := &Service{Name: cfg.Name, Config: cfg}
	svc.remember(f)
	for _, name := range []switcher.Slot{switcher.Blue, switcher.Green} {
		place := cfg.Slots[string(name)]
		slot := &Slot{
			Name: name, Address: place.Address, Active: svc.Active == name,
			Unit: s.unit(ctx, place.Unit), Owner: s.Processes.Owner(place.Address), Link: follow(place.Link),
		}
		slot.Busy = busy(f.Daemon.Status, cfg.Name, name)
		slot.Peers, slot.PeersErr = s.Processes.Peers(place.Address)
		slot.Peers = slices.DeleteFunc(slot.Peers, func(p Process) bool { return p.PID == s.PID })
		if slot.Owner.PID != 0 {
			slot.Gone, slot.Runs = s.Machine.Gone(slot.Owner.PID), s.Machine.Directory(slot.Owner.PID)
		}
		svc.Slots = append(svc.Slots, slot)
	}
	svc.Old = s.unit(ctx, oldUnit(svc))
	for _, path := range cfg.Shared {
		svc.Shared = append(svc.Shared, look(filepath.Join(f.Config.Deploy.Root, "shared", cfg.Name, path)))
	}
	if cfg.Build.User != "" {
		svc.BuildUser = s.Machine.User(cfg.Build.User)
	}
	return svc
}

// remember takes which slot is active from the daemon, or else from its state
// file.
func (svc *Service) remember(f *Facts) {
	for _, s := range f.Daemon.Status.Services {
		if s.Name == svc.Name {
			svc.Active, svc.Since, svc.Held = s.Active, s.Since, s.Held
			return
		}
	}
	if saved, ok := f.State.Saved.Services[svc.Name]; ok && f.State.Err == nil {
		svc.Active, svc.Since, svc.Held = saved.Active, saved.Since, saved.Held
	}
}

func busy(status control.Status, service string, slot switcher.Slot) bool {
	for _, s := range status.Services {
		for _, t := range s.Slots {
			if s.Name == service && t.Name == slot {
				return t.InFlight > 0 || t.Streams > 0
			}
		}
	}
	return false
}

// oldUnit is the name that the unit had before there were two; empty where the
// slots' names do not tell.
func oldUnit(svc *Service) string {
	blue, green := svc.Slots[0].Unit.Name, svc.Slots[1].Unit.Name
	was, ok := strings.CutSuffix(blue, "-blue.service")
	if !ok || green != was+"-green.service" {
		return ""
	}
	return was + ".service"
}

// texts are those of the machine, and the files of variables of all slots.
func (s Sources) texts(f *Facts) []Text {
	all := s.Machine.Texts()
	for _, svc := range f.Services {
		for _, slot := range svc.Slots {
			for _, file := range slot.Unit.Variables {
				all = append(all, file.Text)
			}
		}
	}
	return all
}
