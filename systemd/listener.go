package systemd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ErrNoListener says that nobody listens on the address.
var ErrNoListener = errors.New("nobody listens there")

// Listener is a process with a socket.
type Listener struct {
	PID     int
	Command string // its command line, or its name in brackets
	Unit    string // the unit it belongs to; "" if none
	UID     uint32 // whom it runs as
}

func (l Listener) String() string {
	unit := l.Unit
	if unit == "" {
		unit = "no unit"
	}
	return fmt.Sprintf("process %d of %s (%s)", l.PID, unit, l.Command)
}

// SharedError says that processes of several units listen on one address.
type SharedError struct {
	Address   string
	Listeners []Listener
}

func (e *SharedError) Error() string {
	var names []string
	for _, l := range e.Listeners {
		names = append(names, l.String())
	}
	return "several units listen on " + e.Address + ": " + strings.Join(names, ", ")
}

// ListenerOf says which process answers on an address: host:port, or
// unix:/path. Where several do, as the workers of a cluster, it is the eldest,
// and where these belong to different units a [SharedError] that names them
// all. The error is [ErrNoListener] if there is none, and one of permission if
// it is somebody else's and the caller is not root.
func ListenerOf(address string) (Listener, error) {
	all, err := ListenersOf(address)
	if err != nil {
		return Listener{}, err
	}
	if slices.ContainsFunc(all, func(l Listener) bool { return l.Unit != all[0].Unit }) {
		return Listener{}, &SharedError{address, all}
	}
	return all[0], nil
}

// ListenersOf says who listens on an address, in the order of their pids.
// These are the processes that a connection to the address may reach: an exact
// address goes before a wildcard. systemd itself, which holds the sockets of its
// socket units, is told only if nobody else has it.
func ListenersOf(address string) ([]Listener, error) {
	found, err := listenersOf(address)
	if err != nil {
		return nil, fmt.Errorf("looking who listens on %s: %w", address, err)
	}
	return found, nil
}

func listenersOf(address string) ([]Listener, error) {
	var inodes map[string]bool
	var err error
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		inodes, err = unixListeners(path)
	} else {
		inodes, err = tcpListeners(address)
	}
	if err != nil {
		return nil, err
	}
	if len(inodes) == 0 {
		return nil, ErrNoListener
	}
	found, err := holders(inodes)
	if err != nil {
		return nil, err
	}
	if others := slices.DeleteFunc(slices.Clone(found), func(l Listener) bool { return l.PID == 1 }); len(others) > 0 {
		found = others
	}
	if len(found) == 0 {
		return nil, errors.New("somebody does, but no process that can be seen from here has the socket")
	}
	return found, nil
}

// PeersOf says which processes of this machine have a connection to an
// address, host:port, in the order of their pids: who goes to a slot itself.
// Connections whose process is not visible to the caller are left out; root
// sees all.
func PeersOf(address string) ([]Listener, error) {
	found, err := peersOf(address)
	if err != nil {
		return nil, fmt.Errorf("looking who is connected to %s: %w", address, err)
	}
	return found, nil
}

func peersOf(address string) ([]Listener, error) {
	if strings.HasPrefix(address, "unix:") {
		return nil, errors.New("the kernel's tables do not say who is connected to a unix socket")
	}
	inodes, err := tcpPeers(address)
	if err != nil || len(inodes) == 0 {
		return nil, err
	}
	found, err := holders(inodes)
	if errors.Is(err, fs.ErrPermission) {
		err = nil
	}
	return found, err
}

// holders are the processes that have one of the sockets open, wherever their
// network namespace is: the number of a socket is the machine's. If none is
// found and some could not be looked into, the error is that.
func holders(inodes map[string]bool) (found []Listener, err error) {
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	var denied error
	for _, pid := range pids {
		switch holds, err := holdsSocket(pid, inodes); {
		case errors.Is(err, fs.ErrPermission):
			denied = err
		case err != nil: // it has ended meanwhile
		case holds:
			if l, err := describe(pid); err == nil {
				found = append(found, l)
			}
		}
	}
	slices.SortFunc(found, func(a, b Listener) int { return cmp.Compare(a.PID, b.PID) })
	if len(found) == 0 && denied != nil {
		return nil, fmt.Errorf("who has the socket only root may see: %w", denied)
	}
	return found, nil
}
