package nginx

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultKeepalive is how long nginx keeps an idle connection to an upstream.
const DefaultKeepalive = 60 * time.Second

// Upstream is a block of servers.
type Upstream struct {
	d       *Directive
	Name    string
	Servers []Server
}

// Server is one directive of an upstream.
type Server struct {
	d       *Directive
	Address string
	Line    int
	Down    bool // it gets nothing
	Backup  bool // it gets what the others could not answer
}

// Upstreams are those of a file, in their order.
func (c *Config) Upstreams() []Upstream {
	var list []Upstream
	c.Walk(func(d *Directive, _ []*Directive) {
		if d.Name() == "upstream" && d.Block && len(d.words) > 1 {
			list = append(list, Upstream{d, d.word(1), serversOf(d.Body)})
		}
	})
	return list
}

// LooseServers are the server directives outside of all blocks: the file is
// included within an upstream that another one opens.
func (c *Config) LooseServers() []Server { return serversOf(c.Directives) }

func serversOf(body []Directive) []Server {
	var list []Server
	for i := range body {
		d := &body[i]
		if d.Name() != "server" || d.Block || len(d.words) < 2 {
			continue
		}
		parameters := d.Args()[1:]
		list = append(list, Server{
			d: d, Address: d.word(1), Line: d.Line(),
			Down: slices.Contains(parameters, "down"), Backup: slices.Contains(parameters, "backup"),
		})
	}
	return list
}

// Serving are the servers that get requests as long as all is well: without
// those that are down, and without backups unless there is nothing else.
func (u Upstream) Serving() []Server {
	var first, backup []Server
	for _, s := range u.Servers {
		switch {
		case s.Down:
		case s.Backup:
			backup = append(backup, s)
		default:
			first = append(first, s)
		}
	}
	if len(first) == 0 {
		return backup
	}
	return first
}

// Line is the number of the line on which it begins.
func (u Upstream) Line() int { return u.d.Line() }

// Span is where the block stands in its file, from its name's directive to its
// closing brace.
func (u Upstream) Span() (start, end int) { return u.d.Start, u.d.End }

// Text is the block.
func (u Upstream) Text() string { return u.d.c.Text(u.d.Start, u.d.End) }

// Keepalive is how long nginx keeps idle connections to the servers.
func (u Upstream) Keepalive() time.Duration {
	if d := u.find("keepalive_timeout"); d != nil && len(d.words) > 1 {
		if t, ok := duration(d.word(1)); ok {
			return t
		}
	}
	return DefaultKeepalive
}

func (u Upstream) find(name string) *Directive {
	for i := range u.d.Body {
		if u.d.Body[i].Name() == name {
			return &u.d.Body[i]
		}
	}
	return nil
}

// duration reads a time as nginx writes it: "60", "60s", "1m 30s", "500ms".
func duration(text string) (total time.Duration, ok bool) {
	text = strings.ReplaceAll(text, " ", "")
	for text != "" {
		digits := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if digits < 0 {
			digits = len(text)
		}
		n, err := strconv.ParseInt(text[:digits], 10, 32)
		if err != nil {
			return 0, false
		}
		unit, rest := timeUnit(text[digits:])
		if unit == 0 {
			return 0, false
		}
		total, text = total+time.Duration(n)*unit, rest
	}
	return total, true
}

// timeUnit reads the unit that text begins with; none means seconds.
func timeUnit(text string) (time.Duration, string) {
	const day = 24 * time.Hour
	for _, u := range []struct {
		name string
		size time.Duration
	}{
		{"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour},
		{"d", day}, {"w", 7 * day}, {"M", 30 * day}, {"y", 365 * day},
	} {
		if rest, ok := strings.CutPrefix(text, u.name); ok {
			return u.size, rest
		}
	}
	if text == "" {
		return time.Second, ""
	}
	return 0, text
}
