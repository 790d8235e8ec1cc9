package doctor

import (
	"slices"
	"strings"

	"charactier-proxy/cmd/internal/nginx"
)

// route is a proxy_pass with the blocks around it, the innermost first.
type route struct {
	pass   *Directive
	around [][]Directive
}

// setting is the directive that holds for the route: of the innermost block
// that has one.
func (r route) setting(name string) *Directive {
	for _, block := range r.around {
		for i := range block {
			if block[i].name() == name {
				return &block[i]
			}
		}
	}
	return nil
}

// header is the proxy_set_header of a field. A block that sets any field
// inherits none.
func (r route) header(field string) *Directive {
	for _, block := range r.around {
		any := false
		for i := range block {
			if block[i].name() != "proxy_set_header" {
				continue
			}
			any = true
			if strings.EqualFold(block[i].arg(0), field) {
				return &block[i]
			}
		}
		if any {
			return nil
		}
	}
	return nil
}

// all are the routes of the whole configuration.
func (n Nginx) all() []route {
	var routes []route
	var walk func(block []Directive, around [][]Directive)
	walk = func(block []Directive, around [][]Directive) {
		around = append([][]Directive{block}, around...)
		for i := range block {
			if block[i].name() == "proxy_pass" {
				routes = append(routes, route{&block[i], around})
			}
			if block[i].isBlock {
				walk(block[i].block, around)
			}
		}
	}
	walk(n.Directives, nil)
	return routes
}

// upstreams are the upstream blocks with a server that is one of the addresses.
func (n Nginx) upstreams(addresses ...string) []*Directive {
	var found []*Directive
	n.eachUpstream(func(up *Directive) {
		for i := range up.block {
			if slices.ContainsFunc(addresses, func(a string) bool { return up.block[i].isServer(a) }) {
				found = append(found, up)
				return
			}
		}
	})
	return found
}

// upstreamServers are the server lines of upstreams that lead to the address.
func (n Nginx) upstreamServers(address string) []*Directive {
	var found []*Directive
	n.eachUpstream(func(up *Directive) {
		for i := range up.block {
			if up.block[i].isServer(address) {
				found = append(found, &up.block[i])
			}
		}
	})
	return found
}

func (n Nginx) eachUpstream(do func(*Directive)) {
	var walk func(block []Directive)
	walk = func(block []Directive) {
		for i := range block {
			if block[i].name() == "upstream" {
				do(&block[i])
			} else if block[i].isBlock {
				walk(block[i].block)
			}
		}
	}
	walk(n.Directives)
}

func (d *Directive) isServer(address string) bool {
	return d.name() == "server" && nginx.SameAddress(d.arg(0), address) && !slices.Contains(d.words, "down")
}

// ourUpstreams are those that lead to a listener of the service.
func (n Nginx) ourUpstreams(s *Service) []*Directive { return n.upstreams(s.Config.Listen...) }

// passes are the proxy_pass that name the address themselves.
func (n Nginx) passes(address string) []*Directive {
	var found []*Directive
	for _, r := range n.all() {
		if nginx.SameAddress(passHost(r.pass), address) {
			found = append(found, r.pass)
		}
	}
	return found
}

// routes are those that lead to the service, by an upstream or directly.
func (n Nginx) routes(s *Service) []route {
	var names []string
	for _, up := range n.ourUpstreams(s) {
		names = append(names, up.arg(0))
	}
	var routes []route
	for _, r := range n.all() {
		host := passHost(r.pass)
		direct := func(a string) bool { return nginx.SameAddress(host, a) }
		if slices.Contains(names, host) || slices.ContainsFunc(s.Config.Listen, direct) {
			routes = append(routes, r)
		}
	}
	return routes
}

// passHost is the upstream or address that a proxy_pass names.
func passHost(pass *Directive) string {
	_, target, ok := strings.Cut(pass.arg(0), "://")
	if !ok {
		return ""
	}
	if socket, ok := strings.CutPrefix(target, "unix:"); ok {
		file, _, _ := strings.Cut(socket, ":")
		return "unix:" + file
	}
	host, _, _ := strings.Cut(target, "/")
	return host
}

// serverNames are the names of all sites that are plain names.
func (n Nginx) serverNames() []string {
	var names []string
	var walk func(block []Directive)
	walk = func(block []Directive) {
		for i := range block {
			if d := &block[i]; d.name() == "server_name" {
				for _, name := range d.words[1:] {
					if !strings.ContainsAny(name, "*~_$") && name != "" && !slices.Contains(names, name) {
						names = append(names, name)
					}
				}
			} else if d.isBlock {
				walk(d.block)
			}
		}
	}
	walk(n.Directives)
	return names
}
