package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/proxy"
	"charactier-proxy/systemd"
)

// way is where a door leads.
type way struct {
	handler http.Handler
	lane    *proxy.Lane // nil means that handler answers all
}

// door is one address that clients come in by. Which service it leads to can
// change while connections are open, so that an address moved from one service
// to another is never closed in between.
type door struct {
	address   string // as configured
	listener  net.Listener
	inherited bool // from systemd, which keeps the queue when we let go
	leadsTo   atomic.Pointer[way]
	server    atomic.Pointer[proxy.Server] // nil until it is started
	alive     *liveness
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.alive.answers(w, r) {
		return
	}
	d.leadsTo.Load().handler.ServeHTTP(w, r)
}

// lane is the fast way to where the door leads at the moment.
func (d *door) lane() *proxy.Lane { return d.leadsTo.Load().lane }

// doors are all of them, by configured address.
type doors struct {
	proxy *proxy.Proxy
	alive *liveness
	// inherited are the listeners that systemd opened for us.
	inherited   *systemd.Inherited
	predecessor *predecessor

	mu   sync.Mutex
	open map[string]*door
}

// bind opens the addresses that are not open yet and returns those it opened;
// on error it has opened none.
func (d *doors) bind(addresses map[string]string) (opened []*door, err error) {
	defer func() {
		if err != nil {
			for _, o := range opened {
				err = errors.Join(err, o.listener.Close())
			}
			opened = nil
		}
	}()
	for address := range addresses {
		if d.get(address) != nil {
			continue
		}
		o := &door{address: address, alive: d.alive}
		if err := o.bind(d.inherited, d.predecessor); err != nil {
			return opened, err
		}
		opened = append(opened, o)
	}
	return opened, nil
}

func (o *door) bind(inherited *systemd.Inherited, before *predecessor) (err error) {
	network, address := config.Network(o.address)
	o.listener, err = inherited.ByAddress(network, address)
	if o.inherited = err == nil; o.inherited {
		return nil
	}
	if !errors.Is(err, systemd.ErrNotInherited) {
		return fmt.Errorf("taking over %s from systemd: %w", o.address, err)
	}
	if o.listener, err = before.listener(o.address); o.listener != nil || err != nil {
		return err
	}
	if network == "unix" {
		o.listener, err = listenUnix(address)
	} else {
		o.listener, err = net.Listen(network, address)
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", o.address, err)
	}
	return nil
}

// point makes every open door lead to the service that cfg names for it, and
// remembers those newly opened.
func (d *doors) point(cfg *config.Config, opened []*door) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range opened {
		d.open[o.address] = o
	}
	for address, service := range addresses(cfg) {
		role := newHiddenPath(cfg.Services[service].Role.Path)
		w := &way{handler: role.hide(d.proxy.Handler(service))}
		if cfg.Server.FastLane {
			w.lane = d.proxy.Lane(service, role.means)
		}
		d.open[address].leadsTo.Store(w)
	}
}

// unwanted returns the open addresses that are not in addresses any more.
func (d *doors) unwanted(addresses map[string]string) []*door {
	d.mu.Lock()
	defer d.mu.Unlock()
	var gone []*door
	for address, o := range d.open {
		if _, ok := addresses[address]; !ok {
			gone = append(gone, o)
		}
	}
	return gone
}

func (d *doors) forget(gone []*door) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range gone {
		delete(d.open, o.address)
	}
}

func (d *doors) all() []*door {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.open))
}

func (d *doors) get(address string) *door {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[address]
}

// check asks ourselves by every open door (see liveness). A door whose every
// place is taken does not answer, and is alive all the same.
func (d *doors) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, livenessTimeout)
	defer cancel()
	for _, o := range d.all() {
		err := d.alive.check(ctx, o.listener.Addr())
		if server := o.server.Load(); err != nil && (server == nil || !server.Saturated()) {
			return err
		}
	}
	return nil
}

// listenUnix takes the path over from a process that is gone, but never from
// one that still answers.
func listenUnix(path string) (net.Listener, error) {
	conn, err := net.Dial("unix", path)
	switch {
	case err == nil:
		conn.Close()
		return nil, fmt.Errorf("%s is in use by another process", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := removeSocket(path); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("asking who listens on %s: %w", path, err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// Whoever may enter the directory may send requests, like on loopback.
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return ln, nil
}

// removeSocket removes what a dead process left, and nothing but a socket.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is not a socket: move it away", path)
	}
	return os.Remove(path)
}
