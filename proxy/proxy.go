package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Errors that a claim may end with. Nothing was sent anywhere.
var (
	errNoService   = errors.New("no such service")
	errHoldFull    = errors.New("too many requests are waiting")
	errHoldTimeout = errors.New("the service was held for too long")
)

// Options are what a [Proxy] needs from outside.
type Options struct {
	// Logger gets what an operator should know; nil means none.
	Logger *zap.Logger
	// OnConnectError is told of every failed connect to a slot, on the request's
	// goroutine, so it must not block. Nil means nobody is told.
	OnConnectError func(service, slot string, err error)
	// OnOutage is told when requests begin to wait because their slot takes no
	// connections, and when that is over: see [Outage.Until]. It must neither block
	// nor call the proxy. Nil means nobody is told.
	OnOutage func(Outage)
	// SlotRoom bounds the connections of HTTP/1.1 to all slots together, shared by
	// the services; nil means no bound.
	SlotRoom *Room
}

// Settings are the parts of the data path that belong to no service and may
// change while it runs.
type Settings struct {
	// TrustedPeers are the networks whose forwarded headers are believed.
	TrustedPeers []netip.Prefix
	// TrustUnixPeers says whether peers on unix sockets are believed too.
	TrustUnixPeers bool
	// AccessLog gets one entry for each request; nil means none.
	AccessLog *AccessLog
}

// Proxy owns the table of targets and forwards requests by it.
type Proxy struct {
	opts  Options
	table atomic.Pointer[table]
	fwd   *forwarder

	mu       sync.Mutex // serialises those who replace the table
	stats    map[slotKey]*slotStats
	shares   map[string]*roomShare // of Options.SlotRoom, by service
	draining []*target             // retired and not yet drained, for Stats
}

// table is one immutable generation of everything a request looks up. A single
// pointer for all services is what lets several of them swap in one instant.
type table struct {
	settings Settings
	routes   map[string]*route
}

// route is one service's row: its description, its active target and, while
// it is held, where requests wait.
type route struct {
	service *Service
	target  *target
	hold    *hold
}

type slotKey struct{ service, slot string }

// New returns a proxy with no services.
func New(o Options) *Proxy {
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	p := &Proxy{opts: o, stats: map[slotKey]*slotStats{}, shares: map[string]*roomShare{}}
	p.table.Store(&table{})
	p.fwd = newForwarder(p)
	return p
}

// Configure replaces the settings and the set of services in one instant.
// active names each service's active slot, held those that start held. A
// service whose description did not change keeps its target, its connections
// and its waiters; one that did gets a new target and the old one drains.
// On error nothing has changed.
func (p *Proxy) Configure(set Settings, services []Service, active map[string]string, held map[string]bool) (*Retired, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := checkServices(services, active); err != nil {
		return nil, err
	}
	old := p.table.Load()
	next := &table{settings: set, routes: make(map[string]*route, len(services))}
	for _, s := range services {
		next.routes[s.Name] = p.nextRoute(old.routes[s.Name], s, active[s.Name], held[s.Name])
	}
	p.forgetStats(old, next)
	return p.replace(old, next), nil
}

func checkServices(services []Service, active map[string]string) error {
	seen := map[string]bool{}
	for _, s := range services {
		if seen[s.Name] {
			return fmt.Errorf("service %s is given twice", s.Name)
		}
		seen[s.Name] = true
		if _, ok := s.Slots[active[s.Name]]; !ok {
			return fmt.Errorf("service %s has no slot %q", s.Name, active[s.Name])
		}
	}
	return nil
}

// nextRoute keeps what it can of a service's row.
func (p *Proxy) nextRoute(old *route, s Service, slot string, held bool) *route {
	s.Slots, s.Upgrades = maps.Clone(s.Slots), slices.Clone(s.Upgrades)
	r := &route{service: &s}
	if old != nil && old.target.Slot == slot && sameTargets(*old.service, s) {
		r.target = old.target
	} else {
		r.target = p.newTarget(&s, slot)
	}
	switch {
	case held && old != nil && old.hold != nil:
		r.hold = old.hold
	case held:
		r.hold = newHold(&s)
	}
	return r
}

// sameTargets reports whether the targets of one description serve the other.
// Assets are not the targets' business, nor is how their streams are ended.
func sameTargets(a, b Service) bool {
	a.Assets, b.Assets = nil, nil
	a.StreamSpread, a.StreamBound, a.StreamCloseCode = b.StreamSpread, b.StreamBound, b.StreamCloseCode
	return reflect.DeepEqual(a, b)
}

// forgetStats drops the statistics, and the share of the room, of what is no more.
func (p *Proxy) forgetStats(old, next *table) {
	for name, was := range old.routes {
		now := next.routes[name]
		for slot := range was.service.Slots {
			if now == nil || now.service.Slots[slot] == "" {
				delete(p.stats, slotKey{name, slot})
			}
		}
		if now == nil {
			p.shares[name].part()
			delete(p.shares, name)
		}
	}
}

// Swap makes the named slots active, service by service name, all in one
// atomic instant: no request sees one service moved and another not yet. Once it
// returns, no request starts on the targets it replaced (P2). A service that is
// already on the wanted slot is left alone. On error nothing has moved.
func (p *Proxy) Swap(to map[string]string) (*Retired, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.table.Load()
	next := &table{settings: old.settings, routes: maps.Clone(old.routes)}
	for service, slot := range to {
		r, ok := old.routes[service]
		if !ok {
			return nil, fmt.Errorf("%w %q", errNoService, service)
		}
		if _, ok := r.service.Slots[slot]; !ok {
			return nil, fmt.Errorf("service %s has no slot %q", service, slot)
		}
		if r.target.Slot == slot {
			continue
		}
		next.routes[service] = &route{service: r.service, target: p.newTarget(r.service, slot), hold: r.hold}
	}
	return p.replace(old, next), nil
}

// Hold makes requests of the named services wait from now on: once it has
// returned, no request of theirs starts until [Proxy.Release] lets them go.
// Requests that hold a claim already are not touched. Unknown names and services
// already in the wanted state are ignored.
func (p *Proxy) Hold(services ...string) { p.setHold(services, true) }

// Release ends what [Proxy.Hold] began.
func (p *Proxy) Release(services ...string) { p.setHold(services, false) }

func (p *Proxy) setHold(services []string, held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.table.Load()
	next := &table{settings: old.settings, routes: maps.Clone(old.routes)}
	for _, name := range services {
		r, ok := old.routes[name]
		if !ok || (r.hold != nil) == held {
			continue
		}
		n := &route{service: r.service, target: r.target}
		if held {
			n.hold = newHold(r.service)
		}
		next.routes[name] = n
	}
	p.replace(old, next)
}

// replace stores the next table, then retires the targets and releases the
// holds that it no longer names. The order is what P2 rests on: whoever is
// refused by a retired target finds the newer table. Connections are closed
// last, since that takes the longest and nobody waits for it.
func (p *Proxy) replace(old, next *table) *Retired {
	p.table.Store(next)
	retired := &Retired{}
	for name, was := range old.routes {
		now := next.routes[name]
		if now == nil || now.target != was.target {
			was.target.retire()
			was.target.room.leave() // to the newer one
			retired.targets = append(retired.targets, was.target)
		}
		if was.hold != nil && (now == nil || now.hold != was.hold) {
			close(was.hold.released)
		}
	}
	for _, t := range retired.targets {
		t.transport.Retire()
	}
	p.draining = append(p.draining, retired.targets...)
	p.dropDrained()
	return retired
}

// dropDrained forgets the retired targets that have no claim left and returns
// the others. p.mu must be held.
func (p *Proxy) dropDrained() []*target {
	p.draining = slices.DeleteFunc(p.draining, (*target).drained)
	return slices.Clone(p.draining)
}

func (p *Proxy) newTarget(s *Service, slot string) *target {
	key := slotKey{s.Name, slot}
	stats := p.stats[key]
	if stats == nil {
		stats = &slotStats{open: ages{since: time.Now()}}
		p.stats[key] = stats
	}
	way := newTransport(s, slot, p.opts.OnConnectError)
	if way, ok := way.(*transport); ok {
		way.share = p.shareOf(s.Name)
	}
	return newTarget(s, slot, way, stats, p.opts.OnOutage)
}

// claim is one request's hold on its target, with the table generation that
// the request is pinned to.
type claim struct {
	*target
	service  *Service
	settings *Settings
	waited
	placed bool // it has a place among those of the target's inFlight
}

// waiter is told when a claim begins to wait.
type waiter interface {
	// beginWait returns the context to wait with, and what to call when the wait
	// is over.
	beginWait(ctx context.Context, s *Service) (waiting context.Context, over func())
}

// claim takes the service's active target, waiting while the service is held or
// the target takes no connections; w, unless it is nil, is told of every wait. The
// caller must release what it got. On error nothing was claimed.
func (p *Proxy) claim(ctx context.Context, service string, w waiter) (claim, error) {
	return p.claimAnew(ctx, service, w, waited{})
}

// claimAnew is claim for a request that has waited before. On error the claim
// says how long it waited in all.
func (p *Proxy) claimAnew(ctx context.Context, service string, w waiter, had waited) (claim, error) {
	for {
		t := p.table.Load()
		r, ok := t.routes[service]
		if !ok {
			return claim{waited: had}, errNoService
		}
		if r.hold != nil || !had.mayPass(r.target) {
			if err := r.wait(ctx, &had, w); err != nil {
				return claim{waited: had}, err
			}
			continue
		}
		c := claim{target: r.target, service: r.service, settings: &t.settings, placed: r.target.inFlight.tryEnter()}
		if !c.placed {
			var err error
			if c.placed, err = r.queue(ctx, &had, w); err != nil {
				return claim{waited: had}, err
			}
		}
		if !c.placed || !p.take(&c, t) {
			continue
		}
		if !had.mayPass(c.target) {
			c.release()
			continue
		}
		c.waited = had
		return c, nil
	}
}

// claimNow is claim for who cannot wait: it reports false where the service is
// held, not there or has as many requests under way as may be. The target may be
// one that takes no connections.
func (p *Proxy) claimNow(service string) (claim, bool) {
	for {
		t := p.table.Load()
		r, ok := t.routes[service]
		if !ok || r.hold != nil {
			return claim{}, false
		}
		if !r.target.inFlight.tryEnter() {
			return claim{}, false
		}
		c := claim{target: r.target, service: r.service, settings: &t.settings, placed: true}
		if p.take(&c, t) {
			return c, true
		}
	}
}

// heldSince reports whether the service is held by a table newer than t. Like a
// retired target that refuses, it makes the end of [Proxy.Hold] an exact
// instant: count first, then look again.
func (p *Proxy) heldSince(t *table, service string) bool {
	now := p.table.Load()
	if now == t {
		return false
	}
	r := now.routes[service]
	return r != nil && r.hold != nil
}
