package load

import (
	"context"
	"crypto/rand"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to send, where and how much of it.
type Options struct {
	// Addr is the "host:port" to connect to; Host is the Host field, Addr if
	// empty.
	Addr, Host string
	// Clients is the number of keep-alive connections; zero means 1.
	Clients int
	// Requests bounds the number of requests of all clients together; zero means
	// until the context ends.
	Requests int64
	// PostPath takes {"id": ID}, GetPath answers a GET; both must answer with a
	// JSON object that holds "id" (the request's X-Request-Id) and "slot". Empty
	// means the sample app's.
	PostPath, GetPath string
	// GetEvery makes every n-th request of a client a GET; zero: all are POSTs.
	GetEvery int
	// Slots are the names an answer may bear; empty means blue and green.
	Slots []string
	// Think is the pause of a client between two requests, spread evenly between
	// 0.8 and 1.2 times its value.
	Think time.Duration
	// Timeout bounds one request from connect to the answer's last byte; zero
	// means 30 s.
	Timeout time.Duration
	// Dial opens the connections; nil means a [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Check sees every good answer and may still make a failure of it. It is
	// called by all clients at once. Nil: none.
	Check func(Answer) error
}

func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = o.Addr
	}
	o.Clients = max(o.Clients, 1)
	if o.PostPath == "" {
		o.PostPath = "/api/v1/orders"
	}
	if o.GetPath == "" {
		o.GetPath = "/api/v1/echo"
	}
	if len(o.Slots) == 0 {
		o.Slots = []string{"blue", "green"}
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return o
}

// Answer is one good answer with the request it belongs to.
type Answer struct {
	ID     string
	Method string
	Slot   string
	// Revision is what the answer says of it; not every answer does.
	Revision string
	Status   int
	// Started is just before the first byte was written, Ended just after the
	// last one was read.
	Started, Ended time.Time
}

// Generator is a load that may be looked at while it runs.
type Generator struct {
	opts    Options
	run     string // makes ids unique among runs
	begun   atomic.Int64
	clients []*client
}

// New prepares a load and opens nothing.
func New(o Options) *Generator {
	g := &Generator{opts: o.withDefaults(), run: rand.Text()[:8]}
	for n := range g.opts.Clients {
		g.clients = append(g.clients, newClient(g, n))
	}
	return g
}

// Run drives the load until its number of requests is sent or ctx ends, and
// returns what came of it. A request that is under way when ctx ends is waited
// for, so ending a load loses nothing. It may be called once.
func (g *Generator) Run(ctx context.Context) Report {
	started := time.Now()
	var wg sync.WaitGroup
	for _, c := range g.clients {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
	r := g.Report()
	r.Took = time.Since(started)
	return r
}

// Begun returns how many requests have begun so far, roughly and cheaply.
func (g *Generator) Begun() int64 { return g.begun.Load() }

// Report returns the counts so far. It may be called at any time.
func (g *Generator) Report() Report {
	total := newTally()
	total.counts.Run = g.run
	for _, c := range g.clients {
		c.tally.addTo(total)
	}
	return total.report()
}

// next says whether one more request may be sent.
func (g *Generator) next(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	n := g.begun.Add(1)
	return g.opts.Requests == 0 || n <= g.opts.Requests
}

func (g *Generator) known(slot string) bool { return slices.Contains(g.opts.Slots, slot) }
