package proxy

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// laneFlag is the lane that connections begin in: all tests of the data path hold
// for both.
var laneFlag = flag.String("lane", laneFast, "the lane that connections begin in: fast or standard")

// front is a whole proxy, with a server and one service, before slots.
type front struct {
	t      testing.TB
	proxy  *Proxy
	server *Server
	addr   string
	log    *observer.ObservedLogs // access log
	loud   *observer.ObservedLogs // what an operator sees
	stop   func() error           // ends the server and returns what Serve did
	conns  sync.Map               // of *clientConn
}

type frontOptions struct {
	service  Service
	settings Settings
	server   ServerOptions
	slots    *Room
	onFault  func(service, slot string, err error) // of connects
	listener net.Listener
	park     time.Duration // 0 means the usual
	lane     string        // empty means that of the flag
}

// loopback trusts nginx on the same host, as the shipped configuration does.
func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// impatient has requests wait no longer than they must.
func impatient(o *frontOptions) { o.service.HoldTime = time.Millisecond }

// startFront runs a proxy before one slot until the test ends. Its peers, who
// all come from loopback, are not trusted unless the test says so.
func startFront(t testing.TB, slot string, change ...func(*frontOptions)) *front {
	t.Helper()
	accessCore, access := observer.New(zapcore.InfoLevel)
	loudCore, loud := observer.New(zapcore.InfoLevel)
	o := frontOptions{
		service: *testService(slot),
		server: ServerOptions{
			ReadHeaderTimeout: patience, IdleTimeout: time.Minute,
			IdleGrace: 10 * time.Millisecond, StreamGrace: patience, ShutdownTimeout: patience,
		},
	}
	o.service.Upgrades = []string{"websocket"}
	o.service.ProgressTimeout, o.service.HalfCloseGrace = patience, patience
	o.settings.AccessLog = NewAccessLog(zap.New(accessCore), AccessLogOptions{})
	for _, f := range change {
		f(&o)
	}
	p := New(Options{Logger: zap.New(loudCore), SlotRoom: o.slots, OnConnectError: o.onFault})
	active := map[string]string{o.service.Name: "blue"}
	if _, err := p.Configure(o.settings, []Service{o.service}, active, nil); err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, proxy: p, log: access, loud: loud}
	o.server.Logger = zap.New(loudCore)
	o.server.Handler = p.Handler(o.service.Name)
	if cmp.Or(o.lane, *laneFlag) == laneFast {
		lane := p.Lane(o.service.Name, nil)
		o.server.Lane = func() *Lane { return lane }
	}
	f.serve(o)
	return f
}

func (f *front) serve(o frontOptions) {
	f.t.Helper()
	if o.listener == nil {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			f.t.Fatal(err)
		}
		o.listener = ln
	}
	f.addr = o.listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	f.server = NewServer(o.server)
	f.server.park = cmp.Or(o.park, f.server.park)
	f.server.onConn = func(c *clientConn) { f.conns.Store(c, true) }
	go func() { done <- f.server.Serve(ctx, o.listener) }()
	f.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	f.t.Cleanup(func() {
		f.stop() //nolint:errcheck // tests that care call it themselves
		f.proxy.table.Load().routes["backend"].target.transport.Retire()
	})
}

// startHandler runs an ordinary net/http server as a slot and returns its
// address.
func startHandler(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveHandler(t, ln, h)
	return ln.Addr().String()
}

// serveHandler has an ordinary net/http server answer on a listener.
func serveHandler(t testing.TB, ln net.Listener, h http.HandlerFunc) {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	hs := &http.Server{Handler: h, Protocols: protocols, ErrorLog: silentLog(zap.NewNop(), "slot")}
	done := make(chan struct{})
	go func() {
		defer close(done)
		hs.Serve(ln) //nolint:errcheck // it ends with the test
	}()
	t.Cleanup(func() {
		hs.Close() //nolint:errcheck // it ends with the test
		<-done
	})
}

// entry waits for the access log's line of the n-th request.
func (f *front) entry(n int) map[string]any {
	f.t.Helper()
	f.await("the access log's line", func() bool { return f.log.Len() >= n })
	return f.log.All()[n-1].ContextMap()
}

// await polls until what it waits for is true.
func (f *front) await(what string, done func() bool) {
	f.t.Helper()
	await(f.t, what, done)
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s", what)
		}
		<-tick.C
	}
}

// anyConn reports whether a connection is as is says.
func (f *front) anyConn(is func(*clientConn) bool) bool {
	found := false
	f.conns.Range(func(c, _ any) bool {
		found = found || is(c.(*clientConn))
		return true
	})
	return found
}

// stats are those of the blue slot.
func (f *front) stats() SlotStats { return f.proxy.Stats()["backend"]["blue"] }

// rawClient is a client that says exactly what it is told to.
type rawClient struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

func (f *front) dial() *rawClient {
	f.t.Helper()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // then the test hangs less politely
	return &rawClient{Conn: c, t: f.t, r: bufio.NewReader(c)}
}

func (c *rawClient) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.t.Fatalf("writing to the proxy: %v", err)
	}
}

// answer reads one answer, whose body is still to be read.
func (c *rawClient) answer(method string) *http.Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading the answer: %v", err)
	}
	return res
}

// whole reads one answer with its body.
func (c *rawClient) whole(method string) (*http.Response, string) {
	c.t.Helper()
	res := c.answer(method)
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("reading the answer's body: %v", err)
	}
	return res, string(body)
}

// ended fails the test unless the proxy closes the connection without another
// byte.
func (c *rawClient) ended() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Fatalf("the connection did not end: byte %q, error %v", b, err)
	}
}

// lines reads up to an empty line.
func (c *rawClient) lines() string {
	c.t.Helper()
	var head strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("reading a head: %v after %q", err, head.String())
		}
		head.WriteString(line)
		if line == "\r\n" {
			return head.String()
		}
	}
}

// get sends a plain request and expects 200.
func (c *rawClient) get(path string) string {
	c.t.Helper()
	c.say("GET " + path + " HTTP/1.1\r\nHost: example.com\r\n\r\n")
	res, body := c.whole("GET")
	if res.StatusCode != 200 {
		c.t.Fatalf("GET %s: %s", path, res.Status)
	}
	return body
}

// newClient returns a net/http client that speaks HTTP/1.1, or HTTP/2 with
// prior knowledge.
func newClient(t testing.TB, http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	tr := &http.Transport{Protocols: protocols, DisableCompression: true, MaxIdleConnsPerHost: 100}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 6 * patience}
}

// recordHeads is a slot that answers everything and keeps the heads as they
// came.
func recordHeads(t testing.TB) (slot *proxytest.Slot, head func() string) {
	heads := make(chan string, 100)
	slot = proxytest.Start(t, func(c *proxytest.Conn) {
		for {
			h := c.Head()
			if h == "" {
				return
			}
			heads <- h
			c.Answer("ok")
		}
	})
	return slot, func() string {
		t.Helper()
		select {
		case h := <-heads:
			return h
		case <-time.After(patience):
			t.Fatal("no request reached the slot")
			return ""
		}
	}
}
