package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher"
)

// assume records which slots are active where the state directory cannot tell
// any more, and ends: the daemon is started the usual way afterwards.
func assume(p paths.Paths, active map[string]switcher.Slot, cfg *config.Config, stdout, stderr io.Writer) int {
	state, err := recordAssumption(p, active, cfg)
	if err != nil {
		fmt.Fprintf(stderr, "charactier-proxy: %v\n", err)
		return exitFailed
	}
	for name, slot := range active {
		if state.Services[name].Active != slot {
			fmt.Fprintf(stderr, "charactier-proxy: the state in %s is sound and says that %s is on %s: nothing was recorded\nhint: start the daemon, then charactier-proxyctl switch %s --service %s\n",
				p.StateDir, name, state.Services[name].Active, slot, name)
			return exitFailed
		}
		fmt.Fprintf(stdout, "recorded: %s is on %s\n", name, slot)
	}
	fmt.Fprintln(stdout, "now start the daemon: systemctl restart charactier-proxy")
	return exitOK
}

func recordAssumption(p paths.Paths, active map[string]switcher.Slot, cfg *config.Config) (switcher.State, error) {
	by := operator("--assume-active")
	if err := becomeOwner(p.StateDir); err != nil {
		return switcher.State{}, err
	}
	files, err := switcher.OpenFileStore(p.StateDir)
	if err != nil {
		return switcher.State{}, err
	}
	s, err := switcher.New(switcher.Options{
		Traffic: noTraffic{}, Prober: noTraffic{}, Store: files, History: switcher.OpenFileHistory(p.StateDir),
		Services: cfg.SwitcherServices(), AssumeActive: active, Actor: by,
	})
	if err != nil {
		return switcher.State{}, errors.Join(err, files.Close())
	}
	s.Close()
	return s.State(), files.Close()
}

// operator is who runs this program by hand; root by sudo has a name.
func operator(doing string) switcher.Actor {
	by := daemonActor(doing)
	if name := os.Getenv("SUDO_USER"); name != "" && by.UID == 0 {
		by.User = "root (sudo by " + name + ")"
	}
	return by
}

// becomeOwner makes root the user to whom the state directory belongs, so that
// the daemon can read what root records.
func becomeOwner(dir string) error {
	info, err := os.Stat(dir)
	if os.Geteuid() != 0 || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(int(owner.Gid)), syscall.Setuid(int(owner.Uid))); err != nil {
		return fmt.Errorf("becoming the owner of %s: %w", dir, err)
	}
	return nil
}

// noTraffic stands where nothing is switched.
type noTraffic struct{}

var errNoTraffic = errors.New("no traffic here")

func (noTraffic) Swap(map[string]switcher.Slot) (switcher.Drain, error) { return nil, errNoTraffic }
func (noTraffic) Hold(...string)                                        {}
func (noTraffic) Release(...string)                                     {}
func (noTraffic) Await(context.Context, string, switcher.Slot) error    { return errNoTraffic }
