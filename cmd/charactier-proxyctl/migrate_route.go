package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher/control"
)

const (
	requestTime = 5 * time.Second
	countTime   = time.Second // for an answered request to be counted
	maxRoutes   = 3           // ways through nginx that are tried for a service
	errorHeader = "X-Charactier-Proxy-Error"
)

// serviceConfig is what only the configuration file knows of a service.
type serviceConfig struct {
	health config.Health
	idle   time.Duration
}

func (m *migration) serviceConfig(ctx context.Context, s control.ServiceStatus) serviceConfig {
	if m.cfg == nil {
		file := m.paths().Config
		if status, err := m.client().Status(ctx); err == nil {
			file = status.Config.Path
		}
		m.cfg = m.config(file)
	}
	c := serviceConfig{idle: m.cfg.Server.IdleTimeout}
	if known, ok := m.cfg.Services[s.Name]; ok {
		c.health = known.Health
	} else {
		c.health = config.Default().Services[config.BuiltinService].Health
	}
	return c
}

// checkListener sends a request the way nginx will: it must be answered well,
// and by the daemon that we asked for its status, not by a stranger.
func (m *migration) checkListener(ctx context.Context, s control.ServiceStatus) error {
	before, known := m.count(ctx, s)
	address := m.ours(s)
	if err := m.askHealth(ctx, s, address); err != nil {
		return migrateError{
			error: fmt.Errorf("asking %s through the daemon: %w", s.Name, err), code: "unhealthy", exit: control.ExitRefused,
			hint: m.self() + " status", traffic: "nginx does as before",
		}
	}
	if !known || !m.counted(ctx, s, before) {
		return refusef("ss -ltnp shows who listens", "%s answers, but the daemon has seen no request: something else listens there", address)
	}
	return nil
}

// checkSlot asks the active slot itself.
func (m *migration) checkSlot(ctx context.Context, s control.ServiceStatus) error {
	if err := m.askHealth(ctx, s, addressOf(s, s.Active)); err != nil {
		return migrateError{
			error: fmt.Errorf("asking %s of %s: %w", s.Active, s.Name, err), code: "unhealthy", exit: control.ExitRefused,
			hint: m.self() + " status", traffic: "nginx does as before",
		}
	}
	return nil
}

func (m *migration) askHealth(ctx context.Context, s control.ServiceStatus, address string) error {
	probe := m.serviceConfig(ctx, s).health
	network, target := config.Network(nginx.Reachable(address))
	r := route{network: network, address: target, host: probe.Host, path: probe.Path, method: probe.Method}
	a := r.send(ctx)
	switch {
	case a.err != nil:
		return a.err
	case a.ours != "":
		return fmt.Errorf("%s %s: %d, %s", r.method, r.path, a.status, a.ours)
	}
	for _, good := range probe.Status {
		if good.Low <= a.status && a.status <= good.High {
			return nil
		}
	}
	return fmt.Errorf("%s %s: %d", r.method, r.path, a.status)
}

// count is how many requests of a service the daemon has seen.
func (m *migration) count(ctx context.Context, s control.ServiceStatus) (n uint64, known bool) {
	status, err := m.client().Status(ctx)
	if err != nil {
		return 0, false
	}
	for _, now := range status.Services {
		if now.Name == s.Name {
			for _, slot := range now.Slots {
				n += slot.Requests
			}
			return n, true
		}
	}
	return 0, false
}

// counted reports whether the daemon sees more requests than before.
func (m *migration) counted(ctx context.Context, s control.ServiceStatus, before uint64) bool {
	for deadline := time.Now().Add(countTime); ; {
		if n, known := m.count(ctx, s); known && n > before {
			return true
		}
		if time.Now().After(deadline) || pause(ctx, pollEvery) != nil {
			return false
		}
	}
}

// route is a way to ask for a service.
type route struct {
	network, address string
	tls              bool
	host, path       string
	method           string
}

// reply is what came back.
type reply struct {
	status int
	ours   string // the daemon's own reason for an error
	err    error
}

// lost reports whether nginx, or nobody, answered for a slot that it did not
// reach.
func (r reply) lost() bool {
	return r.err != nil || r.ours == "" && slices.Contains([]int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, r.status)
}

func (r reply) String() string {
	if r.err != nil {
		return r.err.Error()
	}
	return fmt.Sprint(r.status)
}

// send asks once, on a connection of its own.
func (r route) send(ctx context.Context) reply {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	scheme := "http"
	if r.tls {
		scheme = "https"
	}
	host := r.host
	if host == "" {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, r.method, scheme+"://"+host+r.path, nil)
	if err != nil {
		return reply{err: err}
	}
	req.Header.Set("User-Agent", program+" migrate")
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, r.network, r.address)
		},
		// It is this host's own nginx, whatever its certificate says.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: host},
		DisableKeepAlives: true,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return reply{resp.StatusCode, resp.Header.Get(errorHeader), err}
}

// routes are the ways through nginx to some services, and what they must show.
type routes struct {
	m    *migration
	undo bool
	list []serviceRoutes
}

type serviceRoutes struct {
	service control.ServiceStatus
	routes  []route
	before  []reply
}

// newRoutes finds ways through nginx, and tries them before anything changes.
func (m *migration) newRoutes(ctx context.Context, files []*nginxFile, places []place) *routes {
	r := &routes{m: m, undo: m.f.undo}
	for _, p := range places {
		if slices.ContainsFunc(r.list, func(s serviceRoutes) bool { return s.service.Name == p.service.Name }) {
			continue
		}
		s := serviceRoutes{service: p.service, routes: m.waysTo(ctx, p.service, files, places)}
		for _, way := range s.routes {
			s.before = append(s.before, way.send(ctx))
		}
		r.list = append(r.list, s)
	}
	return r
}

// waysTo are requests that nginx passes to one of the service's upstreams.
func (m *migration) waysTo(ctx context.Context, s control.ServiceStatus, files []*nginxFile, places []place) []route {
	health := m.serviceConfig(ctx, s).health
	var ways []route
	for _, f := range files {
		for _, site := range f.conf.Sites() {
			path, ok := pathTo(site, health.Path, s.Name, places)
			for _, l := range site.Listens {
				if ok && !l.Proxied && len(ways) < maxRoutes {
					ways = append(ways, route{l.Network, l.Address, l.TLS, site.Name(), path, http.MethodGet})
				}
			}
		}
	}
	return ways
}

// pathTo is the health route if the site passes it to the service, or else a
// location that it does.
func pathTo(site nginx.Site, health, service string, places []place) (string, bool) {
	leads := func(path string) bool {
		l, found := site.Locate(path)
		return found && slices.ContainsFunc(places, func(p place) bool { return p.service.Name == service && p.upstream.Name == l.Pass })
	}
	if leads(health) {
		return health, true
	}
	for _, l := range site.Locations {
		if (l.Modifier == "" || l.Modifier == "=" || l.Modifier == "^~") && leads(l.Path) {
			return l.Path, true
		}
	}
	return "", false
}

// check asks through nginx, for each service, until the answer is right or
// time is up.
func (r *routes) check(ctx context.Context, patience time.Duration) error {
	for _, s := range r.list {
		if len(s.routes) == 0 {
			r.m.notef("no site of nginx is seen to use %s: its new workers are all that shows the change", clean(s.service.Name))
			continue
		}
		var err error
		for deadline := time.Now().Add(patience); ; {
			if err = r.once(ctx, s); err == nil || time.Now().After(deadline) {
				break
			}
			if pause(ctx, pollEvery) != nil {
				break
			}
		}
		if err != nil && !errors.Is(err, errInconclusive) {
			return err
		}
		if err != nil {
			r.m.warn("%v: look at %s status whether requests of %s arrive", err, r.m.self(), s.service.Name)
		}
	}
	return nil
}

// errInconclusive: nginx answers by itself, so that nothing is seen.
var errInconclusive = errors.New("it cannot be seen where nginx sends requests")

// once tries the ways to a service until one shows that all is well.
func (r *routes) once(ctx context.Context, s serviceRoutes) error {
	var verdict error
	for i, way := range s.routes {
		before, known := r.m.count(ctx, s.service)
		answer := way.send(ctx)
		switch {
		case r.undo && !answer.lost() && answer.ours == "":
			return nil
		case !r.undo && (answer.ours != "" || known && r.m.counted(ctx, s.service, before)):
			return nil
		case !r.undo && answer.status >= 300 && !answer.lost() || s.before[i].lost():
			verdict = fmt.Errorf("%w: GET %s of %s, %s", errInconclusive, way.path, way.host, answer)
		default:
			return fmt.Errorf("%w: GET %s of %s was answered %s, and not %s", errNotTaken, way.path, way.host, answer, r.wanted(s.service))
		}
	}
	return verdict
}

func (r *routes) wanted(s control.ServiceStatus) string {
	if r.undo {
		return "by " + string(s.Active)
	}
	return "by way of the daemon"
}
