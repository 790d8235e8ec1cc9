package nginx

import (
	"regexp"
	"slices"
	"strings"
)

// Pass is a directive that names an address to send requests to, in the open or
// by a variable.
type Pass struct {
	Line    int
	Text    string // the directive, with one space between its words
	Address string // an upstream's name or an address
}

// Passes are those of a file outside of its upstreams.
func (c *Config) Passes() []Pass {
	var list []Pass
	c.Walk(func(d *Directive, in []*Directive) {
		inMap := len(in) > 0 && in[len(in)-1].Name() == "map"
		value := ""
		switch args := d.Args(); {
		case d.Block:
		case isPass(d.Name()) && len(args) == 1:
			value = args[0]
		case (d.Name() == "set" || inMap) && len(args) > 0 && strings.Contains(args[len(args)-1], "://"):
			value = args[len(args)-1]
		}
		if value != "" {
			list = append(list, Pass{d.Line(), d.plain(), passAddress(value)})
		}
	})
	return list
}

func isPass(name string) bool {
	return slices.Contains([]string{"proxy_pass", "grpc_pass", "uwsgi_pass", "fastcgi_pass", "scgi_pass"}, name)
}

func (d *Directive) plain() string { return strings.Join(append([]string{d.Name()}, d.Args()...), " ") }

// Site is a server block: where it listens and what it does with paths.
type Site struct {
	Listens   []Listen
	Names     []string
	Locations []Location
}

// Listen is one address of a site.
type Listen struct {
	Network, Address string // as net.Dial wants them, on this host
	TLS              bool
	Proxied          bool // it wants the PROXY protocol
}

// Location is one of a site, with the address that it passes requests to, if
// it does.
type Location struct {
	Modifier, Path string // "", "=", "^~", "~", "~*"
	Pass           string
}

// Sites are the server blocks of a file.
func (c *Config) Sites() []Site {
	var list []Site
	c.Walk(func(d *Directive, _ []*Directive) {
		if d.Name() == "server" && d.Block {
			list = append(list, siteOf(d))
		}
	})
	return list
}

func siteOf(d *Directive) Site {
	var s Site
	walk(d.Body, nil, func(d *Directive, in []*Directive) {
		switch args := d.Args(); {
		case d.Name() == "listen" && len(args) > 0 && len(in) == 0:
			s.Listens = append(s.Listens, listenOf(args))
		case d.Name() == "server_name" && len(in) == 0:
			s.Names = append(s.Names, args...)
		case d.Name() == "location" && d.Block && len(args) > 0:
			s.Locations = append(s.Locations, locationOf(d))
		}
	})
	if len(s.Listens) == 0 {
		s.Listens = []Listen{{Network: "tcp", Address: "127.0.0.1:80"}}
	}
	return s
}

func listenOf(args []string) Listen {
	l := Listen{
		Network: "tcp", TLS: slices.Contains(args, "ssl"), Proxied: slices.Contains(args, "proxy_protocol"),
	}
	if path, ok := strings.CutPrefix(args[0], "unix:"); ok {
		l.Network, l.Address = "unix", path
		return l
	}
	address := args[0]
	if strings.Trim(address, "0123456789") == "" {
		address = ":" + address
	}
	l.Address = Reachable(address)
	return l
}

func locationOf(d *Directive) Location {
	args := d.Args()
	l := Location{Path: args[0]}
	if len(args) > 1 {
		l.Modifier, l.Path = args[0], args[1]
	} else if modifier, path, ok := cutModifier(args[0]); ok {
		l.Modifier, l.Path = modifier, path
	}
	walk(d.Body, nil, func(inner *Directive, in []*Directive) {
		nested := slices.ContainsFunc(in, func(d *Directive) bool { return d.Name() == "location" })
		if isPass(inner.Name()) && len(inner.words) == 2 && !nested && l.Pass == "" {
			l.Pass = passAddress(inner.word(1))
		}
	})
	return l
}

// cutModifier splits "=/path" and its like, which need no space.
func cutModifier(word string) (modifier, path string, ok bool) {
	for _, modifier := range []string{"^~", "~*", "=", "~"} {
		if path, ok := strings.CutPrefix(word, modifier); ok {
			return modifier, path, true
		}
	}
	return "", "", false
}

// Locate returns the location that nginx chooses for a path, as far as its
// regular expressions are also Go's.
func (s Site) Locate(path string) (best Location, found bool) {
	for _, l := range s.Locations {
		switch {
		case l.Modifier == "=" && l.Path == path:
			return l, true
		case (l.Modifier == "" || l.Modifier == "^~") && strings.HasPrefix(path, l.Path) && len(l.Path) >= len(best.Path):
			best, found = l, true
		}
	}
	if best.Modifier == "^~" {
		return best, found
	}
	for _, l := range s.Locations {
		if l.matches(path) {
			return l, true
		}
	}
	return best, found
}

func (l Location) matches(path string) bool {
	prefix := map[string]string{"~": "", "~*": "(?i)"}
	flags, is := prefix[l.Modifier]
	if !is {
		return false
	}
	re, err := regexp.Compile(flags + l.Path)
	return err == nil && re.MatchString(path)
}

// Name is a host name by which a request finds the site; empty if any will do.
func (s Site) Name() string {
	for _, name := range s.Names {
		if name != "_" && !strings.ContainsAny(name, "*~$") {
			return strings.Trim(name, ".")
		}
	}
	return ""
}
