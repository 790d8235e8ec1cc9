package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/role"
)

// roleConfig is what decides how a service's slots are told their roles.
type roleConfig struct {
	config.Role
	protocol    string
	blue, green string // addresses
}

func (c roleConfig) told() bool { return c.Path != "" || c.Command != "" || c.Unit != "" }

func (c roleConfig) address(slot switcher.Slot) string {
	if slot == switcher.Blue {
		return c.blue
	}
	return c.green
}

// process are the ways to tell a slot's process.
func (c roleConfig) process(slot switcher.Slot) (ways []role.Way) {
	if c.Path != "" {
		ways = append(ways, role.HTTP{Address: c.address(slot), Path: c.Path, H2C: c.protocol == "h2c"})
	}
	if c.Command != "" {
		ways = append(ways, role.Command{Line: c.Command, Address: c.address(slot)})
	}
	return ways
}

// beside are the ways to see to what runs beside it.
func (c roleConfig) beside(slot switcher.Slot, units role.Units) []role.Way {
	if c.Unit == "" {
		return nil
	}
	return []role.Way{role.Unit{Units: units, Name: strings.ReplaceAll(c.Unit, "{slot}", string(slot))}}
}

// roles keep one keeper for each service whose slots are told their roles.
type roles struct {
	tasks *tasks
	new   func(service string, c roleConfig) *role.Keeper

	mu        sync.RWMutex
	byService map[string]roleKeeper
}

type roleKeeper struct {
	*role.Keeper
	config roleConfig
}

// apply starts, replaces and ends keepers so that they are the wanted ones. It
// must not be called by several goroutines at once.
func (r *roles) apply(wanted map[string]roleConfig) {
	ended, begun := r.replace(wanted)
	r.tasks.stop(ended...) // without the lock: a keeper may be busy telling of a change
	for service, k := range begun {
		for _, slot := range bothSlots {
			r.tasks.start(roleTask(place{service, slot}), func(ctx context.Context) error {
				k.Keep(ctx, slot)
				return nil
			})
		}
	}
}

var bothSlots = [2]switcher.Slot{switcher.Blue, switcher.Green}

func (r *roles) replace(wanted map[string]roleConfig) (ended []string, begun map[string]*role.Keeper) {
	begun = map[string]*role.Keeper{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for service, old := range r.byService {
		if old.config != wanted[service] {
			ended = append(ended, roleTask(place{service, switcher.Blue}), roleTask(place{service, switcher.Green}))
			delete(r.byService, service)
		}
	}
	for service, c := range wanted {
		if _, goesOn := r.byService[service]; !goesOn {
			begun[service] = r.new(service, c)
			r.byService[service] = roleKeeper{begun[service], c}
		}
	}
	return ended, begun
}

func roleTask(p place) string { return "role " + p.String() }

func (r *roles) get(service string) (roleKeeper, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	k, ok := r.byService[service]
	return k, ok
}

// nudge makes all keepers look at what is wanted.
func (r *roles) nudge() {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.byService {
		k.Nudge()
	}
}

// restarted says that a slot has another process.
func (r *roles) restarted(p place) {
	if k, ok := r.get(p.service); ok {
		k.Restarted(p.slot)
	}
}

// status is nil where the slot is not told.
func (r *roles) status(p place) *control.RoleStatus {
	k, ok := r.get(p.service)
	if !ok {
		return nil
	}
	s := k.Status(p.slot)
	return &control.RoleStatus{Wanted: string(s.Wanted), Told: string(s.Told), Since: s.Since, Error: errorText(s.Err)}
}

// warnings are what an operator should know of a service's roles.
func (r *roles) warnings(service string, now time.Time) (all []string) {
	k, ok := r.get(service)
	if !ok {
		return nil
	}
	for _, slot := range bothSlots {
		s := k.Status(slot)
		if s.Taken() || now.Sub(s.WantedSince) <= k.config.Timeout {
			continue
		}
		why := "it has not been told yet"
		if s.Err != nil {
			why = s.Err.Error()
		}
		switch {
		case s.Wanted == role.Active:
			all = append(all, fmt.Sprintf("%s: the active slot %s has not taken its role, so that its jobs may not run: %s", service, slot, why))
		case s.Told == role.Active:
			all = append(all, fmt.Sprintf("%s: the standby slot %s still has the active role, so that jobs may run twice: %s", service, slot, why))
		}
	}
	return all
}

// wantedRoles are the services whose slots are told their roles.
func wantedRoles(cfg *config.Config) map[string]roleConfig {
	wanted := map[string]roleConfig{}
	for name, s := range cfg.Services {
		c := roleConfig{
			Role: s.Role, protocol: s.Protocol,
			blue: s.Slots[string(switcher.Blue)].Address, green: s.Slots[string(switcher.Green)].Address,
		}
		if c.told() {
			wanted[name] = c
		}
	}
	return wanted
}

// newKeeper makes the keeper of one service.
func (d *daemon) newKeeper(service string, c roleConfig) *role.Keeper {
	o := role.Options{
		Service: service, Timeout: c.Timeout, Refresh: c.Refresh,
		Process: map[switcher.Slot][]role.Way{}, Beside: map[switcher.Slot][]role.Way{},
		Wanted: func() role.Wanted {
			s := d.switcher.State().Services[service]
			return role.Wanted{Active: s.Active, Generation: s.Generation}
		},
		Release:  func(slot switcher.Slot) string { return d.releaseOf(service, slot) },
		Dead:     func(slot switcher.Slot) bool { return d.units.dead(place{service, slot}) },
		OnChange: func(slot switcher.Slot, s role.Status) { d.roleChanged(place{service, slot}, s) },
	}
	for _, slot := range bothSlots {
		o.Process[slot], o.Beside[slot] = c.process(slot), c.beside(slot, d.units)
	}
	return role.New(o)
}

const kindRole = "role"

// roleChanged is told of each role that a slot took, and of failures.
func (d *daemon) roleChanged(p place, s role.Status) {
	level, logLevel, text := switcher.LevelInfo, zap.InfoLevel, fmt.Sprintf("%s took the role %s", p, s.Told)
	if s.Err != nil {
		level, logLevel, text = switcher.LevelWarn, zap.WarnLevel, fmt.Sprintf("%s does not take the role %s: %v", p, s.Wanted, s.Err)
	}
	d.events.Publish(switcher.Event{Kind: kindRole, Service: p.service, Slot: p.slot, Level: level, Text: text})
	d.log.Log(logLevel, "role", zap.String("service", p.service), zap.String("slot", string(p.slot)),
		zap.String("wanted", string(s.Wanted)), zap.String("told", string(s.Told)), zap.Error(s.Err))
}

// nudgeRoles makes the keepers look whenever something happened, until ctx
// ends: what they want to know is in the switcher's state.
func (d *daemon) nudgeRoles(ctx context.Context) {
	// It ends with ctx only.
	_ = d.events.Subscribe(ctx, 0, func(e switcher.Event) error {
		if e.Kind != kindRole {
			d.roles.nudge()
		}
		return nil
	})
}

// hiddenPath is a service's role path, which is refused to clients: only the
// daemon tells a slot its role. So is every path that an application could take
// for it. The zero value hides nothing.
type hiddenPath string

func newHiddenPath(rolePath string) hiddenPath {
	target, err := url.ParseRequestURI(rolePath)
	if err != nil { // "" is no path
		return ""
	}
	return hiddenPath(plainPath(target.Path))
}

// hide answers in place of next where the path is meant.
func (h hiddenPath) hide(next http.Handler) http.Handler {
	if h == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.is(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Charactier-Proxy-Error", "role-path")
		http.NotFound(w, r)
	})
}

// means reports whether a path as it was spelled is the hidden one, or cannot be
// understood. It allocates only where the spelling is not the plain one.
func (h hiddenPath) means(spelled []byte) bool {
	if h == "" {
		return false
	}
	if !bytes.ContainsAny(spelled, `%\`) && !bytes.Contains(spelled, []byte("/.")) && !bytes.Contains(spelled, []byte("//")) {
		if trimmed := bytes.TrimSuffix(spelled, []byte("/")); len(trimmed) > 0 {
			spelled = trimmed
		}
		return len(spelled) == len(h) && bytes.EqualFold(spelled, []byte(h))
	}
	path, err := url.PathUnescape(string(spelled))
	return err != nil || h.is(path)
}

// is reports whether some application would take a decoded path for the hidden
// one. To those that read it by the URL standard a backslash is a slash, and what
// follows two of them is a host with its path.
func (h hiddenPath) is(p string) bool {
	p = strings.ReplaceAll(p, `\`, "/")
	if plainPath(p) == string(h) {
		return true
	}
	authority, found := strings.CutPrefix(p, "//")
	if !found {
		return false
	}
	_, below, _ := strings.Cut(strings.TrimLeft(authority, "/"), "/")
	return plainPath(below) == string(h)
}

// plainPath is one spelling for all those that routers like to take for one:
// letter case, a final slash, doubled ones.
func plainPath(p string) string { return strings.ToLower(path.Clean("/" + p)) }
