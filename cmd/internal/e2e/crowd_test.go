package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"
)

// patientNode is a slot for crowds: it answers what a load asks, gives a large
// answer to /big, none to /hang, and bears any number of clients.
const patientNode = `
const http = require('node:http');
const big = Buffer.alloc(256 * 1024, 'x');
const server = http.createServer((req, res) => {
  req.on('error', () => {});
  res.on('error', () => {});
  if (req.url === '/big') return void res.end(big);
  if (req.url === '/hang') return;
  req.resume().on('end', () => res.end(JSON.stringify({ id: req.headers['x-request-id'], slot: 'blue' })));
});
server.on('clientError', (err, socket) => socket.destroy());
server.listen(Number(process.argv[1]), '127.0.0.1', 4096);
`

func startPatientNode(t *testing.T) string {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	start(t, "patient Node", exec.Command(program(t, "node", "nodejs"), "-e", patientNode, port)).awaitListening(addr)
	return addr
}

// crowd are clients that each say one thing and then no more, or a byte at
// times.
type crowd struct {
	t     *testing.T
	mu    sync.Mutex
	conns []net.Conn
}

// gather connects so many clients; each says what is given. Those that the
// listener does not take yet count too.
func gather(t *testing.T, addr string, n int64, say string) *crowd {
	t.Helper()
	c := &crowd{t: t}
	t.Cleanup(c.leave)
	var workers sync.WaitGroup
	work := make(chan struct{})
	for range 32 {
		workers.Go(func() {
			for range work {
				if err := c.join(addr, say); err != nil {
					t.Errorf("a client of the crowd: %v", err)
				}
			}
		})
	}
	for range n {
		work <- struct{}{}
	}
	close(work)
	workers.Wait()
	return c
}

func (c *crowd) join(addr, say string) error {
	dialer := net.Dialer{Timeout: patience, Control: func(_, _ string, raw syscall.RawConn) error {
		// A client that reads nothing should not have the kernel read for it.
		return raw.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }) //nolint:errcheck // then it takes more
	}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.conns = append(c.conns, conn)
	c.mu.Unlock()
	_, err = io.WriteString(conn, say)
	return err
}

// trickle has everybody say one byte more, and reports how many still may.
func (c *crowd) trickle() (open int) {
	for _, conn := range c.conns {
		if _, err := conn.Write([]byte("x")); err == nil {
			open++
		}
	}
	return open
}

func (c *crowd) leave() {
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// contender is a proxy before the patient slot.
type contender struct {
	name string
	addr string
	pids []int
}

func (c contender) resident(t *testing.T) (total int64) {
	t.Helper()
	for _, pid := range c.pids {
		n, err := residentBytes(pid)
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// children are the processes that pid has started, and itself.
func children(t *testing.T, pid int) []int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{pid}
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, child)
	}
	return pids
}

const plainNginx = `user root; daemon off; worker_processes 2; pid nginx.pid; error_log error.log crit;
events { worker_connections 30000; }
http {
  access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  client_header_timeout 60s; keepalive_timeout 120s; keepalive_requests 1000000;
  upstream backend { server %s; keepalive 32; }
  server { listen %s backlog=4096; location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`

const plainHAProxy = `global
    nbthread 2
    maxconn 9800
defaults
    mode http
    timeout connect 3s
    timeout client 120s
    timeout server 600s
    timeout http-request 60s
    http-reuse always
frontend clients
    bind %s
    default_backend slot
backend slot
    server blue %s
`

// peers are nginx and HAProxy, where they are installed, for comparison.
func peers(t *testing.T, slot string) (all []contender) {
	t.Helper()
	if os.Getenv("SOAK") == "" {
		return nil
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	addr := freeAddr(t)
	conf := write("nginx.conf", fmt.Sprintf(plainNginx, slot, addr))
	nginx := start(t, "nginx", exec.Command(program(t, "nginx", "nginx-light"), "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")))
	nginx.awaitListening(addr)
	t.Cleanup(func() { nginx.signal(syscall.SIGTERM); <-nginx.done })
	all = append(all, contender{"nginx", addr, children(t, nginx.cmd.Process.Pid)})
	if path, err := exec.LookPath("/usr/sbin/haproxy"); err == nil {
		addr := freeAddr(t)
		haproxy := start(t, "HAProxy", exec.Command(path, "-db", "-f", write("haproxy.cfg", fmt.Sprintf(plainHAProxy, addr, slot))))
		haproxy.awaitListening(addr)
		all = append(all, contender{"HAProxy", addr, children(t, haproxy.cmd.Process.Pid)})
	}
	return all
}

// ours are both lanes, each in a daemon of its own.
func ours(t *testing.T, slot string) (all []contender) {
	for _, lane := range []string{"fast", "standard"} {
		d := newDaemon(t, freeAddr(t), slot, startPatientNode(t), "timeouts: {progress: 120s}")
		d.reconfigure(fmt.Sprintf("server: {header_timeout: 60s, fast_lane: %t}\n", lane == "fast"))
		d.start()
		all = append(all, contender{"charactier-proxy, " + lane + " lane", d.addr, []int{d.cmd.Process.Pid}})
	}
	return all
}

// reconfigure adds to the configuration.
func (d *daemon) reconfigure(yaml string) {
	d.t.Helper()
	d.configure(read(d.t, d.configFile()) + yaml)
}

// othersFare sends a load beside a crowd and tells what became of it.
func othersFare(t *testing.T, addr string, requests int64) load.Report {
	t.Helper()
	g := load.New(load.Options{Addr: addr, Clients: 8, GetEvery: 4, Requests: requests, Slots: []string{"blue", "green"}})
	return g.Run(t.Context())
}

// TestSoakACrowdOfSlowClientsCostsTheOthersNothing has clients that send half a
// head, trickle a body, or read nothing of a large answer: each takes its
// connection's memory and no more, and others are served meanwhile.
func TestSoakACrowdOfSlowClientsCostsTheOthersNothing(t *testing.T) {
	const mostEach, slack = 128 << 10, 128 << 20 // bytes of memory for one slow client, and for all else
	clients, requests := size(t, "SOAK_CROWD", 300, 9_000), size(t, "SOAK_CROWD_REQUESTS", 1_000, 20_000)
	slot := startPatientNode(t)
	table := fmt.Sprintf("%-32s %-26s %8s %8s %9s %8s %7s %9s", "", "clients that", "clients", "MiB", "KiB each", "sent", "failed", "p99")
	for _, c := range append(ours(t, slot), peers(t, slot)...) {
		othersFare(t, c.addr, requests/4) // so that all have grown to what they need anyway
		for _, way := range []struct{ name, say string }{
			{"send half a head", "GET /api/v1/echo HTTP/1.1\r\nHost: a\r\nX-Slow: "},
			{"trickle a body", "POST /api/v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n"},
			{"trickle a body in chunks", "POST /api/v1/orders HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2000\r\n"},
			{"read nothing of 256 KiB", "GET /big HTTP/1.1\r\nHost: a\r\n\r\n"},
		} {
			before := c.resident(t)
			slow := gather(t, c.addr, clients, way.say)
			open := len(slow.conns)
			if !strings.HasPrefix(way.name, "read") {
				open = slow.trickle()
			}
			r := othersFare(t, c.addr, requests)
			rss := c.resident(t)
			each := max(0, rss-before) / clients
			table += fmt.Sprintf("\n%-32s %-26s %8d %8d %9d %8d %7d %9s", c.name, way.name, open, rss>>20, each>>10, r.Sent, r.Failed, r.P99.Round(100*time.Microsecond))
			if strings.HasPrefix(c.name, "charactier") && (r.Failed > 0 || open < int(clients) || rss-before > clients*mostEach+slack) {
				t.Errorf("%s, clients that %s: %d of %d still connected, %d KiB each\n%s", c.name, way.name, open, clients, each>>10, r)
			}
			slow.leave()
		}
	}
	t.Log("\n" + table)
}

// TestAServiceWhoseSlotHangsDoesNotHinderAnother takes all that one service can
// get, and asks the other all the while.
func TestAServiceWhoseSlotHangsDoesNotHinderAnother(t *testing.T) {
	hung, well, node := startPatientNode(t), startPatientNode(t), startPatientNode
	d := newDaemon(t, freeAddr(t), hung, "")
	other := freeAddr(t)
	d.configure(fmt.Sprintf(`services:
  backend:
    listen: %s
    slots: {blue: {address: %q, unit: ""}, green: {address: %q, unit: ""}}
    health: {interval: 200ms}
  frontend:
    listen: %s
    slots: {blue: {address: %q, unit: ""}, green: {address: %q, unit: ""}}
    health: {interval: 200ms}
    in_flight: {requests: 4}
admin: {listen: %s}
control: {group: ""}
`, d.addr, hung, node(t), other, well, node(t), d.admin))
	d.by = withDescriptors(512) // so that the crowd is more than there is room for
	d.start()
	gather(t, d.addr, 400, "GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := othersFare(t, other, 1000); r.Failed > 0 || r.Sent < 1000 {
		t.Errorf("the other service: %s", r)
	}
	if _, problems, code := d.ctl("switch", "--yes", "--service", "frontend"); code != 0 {
		t.Errorf("a switch of the other service: exit %d: %s", code, problems)
	}
	if r := othersFare(t, other, 200); r.Failed > 0 {
		t.Errorf("after its switch: %s", r)
	}
}

// withDescriptors starts a program that may have so many.
func withDescriptors(n int) []string {
	return []string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, n)}
}

// cpuTime is what the process has used so far.
func (d *daemon) cpuTime() time.Duration {
	d.t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			d.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// TestAFloodOfConnectionsLeavesDescriptorsForTheRest has more clients than there
// are descriptors. Who operates it notices nothing, and as heads do not come in
// time, the others get their turn.
func TestAFloodOfConnectionsLeavesDescriptorsForTheRest(t *testing.T) {
	blue, green := startPatientNode(t), startPatientNode(t)
	d := newDaemon(t, freeAddr(t), blue, green)
	d.reconfigure("server: {header_timeout: 2s}\n")
	d.by = withDescriptors(256)
	d.start()
	for range 3 {
		gather(t, d.addr, 400, "GET / HTTP/1.1\r\nHost:")
		if _, problems, code := d.ctl("switch", "--yes"); code != 0 {
			t.Errorf("a switch during the flood: exit %d: %s", code, problems)
		}
		if err := ready(d.admin); err != nil {
			t.Error(err)
		}
		if r := othersFare(t, d.addr, 8); r.Failed > 0 || r.Sent < 8 {
			t.Errorf("the others: %s", r)
		}
	}
	if log := read(t, d.log); strings.Contains(log, "too many open files") {
		t.Error("it ran out of descriptors")
	}
	for name, s := range d.slots() {
		if s.Health.State != "healthy" || s.Errors > 0 {
			t.Errorf("%s is %s, %d errors", name, s.Health.State, s.Errors)
		}
	}
}

// TestAProcessWithoutDescriptorsRecovers takes the limit from under a running
// daemon, which no bound of ours foresees.
func TestAProcessWithoutDescriptorsRecovers(t *testing.T) {
	blue, green := startPatientNode(t), startPatientNode(t)
	d := startDaemon(t, blue, green)
	limit := func(n int) {
		t.Helper()
		pid := strconv.Itoa(d.cmd.Process.Pid)
		run(t, program(t, "prlimit", "util-linux"), "--pid", pid, "--nofile="+strconv.Itoa(n)+":")
	}
	if r := othersFare(t, d.addr, 100); r.Failed > 0 {
		t.Fatal(r)
	}
	limit(4)
	used, began := d.cpuTime(), time.Now()
	slow := gather(t, d.addr, 50, "GET / HTTP/1.1\r\nHost:")
	eventually(t, "it says that it has no descriptors", func() error {
		if !strings.Contains(read(t, d.log), "too many open files") {
			return errors.New("it does not")
		}
		return nil
	})
	pause := time.NewTimer(2 * time.Second) // in which a busy loop would show
	defer pause.Stop()
	<-pause.C
	if busy, took := d.cpuTime()-used, time.Since(began); busy > took/2 {
		t.Errorf("it was busy for %s of %s", busy, took)
	}
	slow.leave()
	limit(1024)
	if r := othersFare(t, d.addr, 100); r.Failed > 0 {
		t.Errorf("afterwards: %s", r)
	}
	if _, problems, code := d.ctl("switch", "--yes"); code != 0 {
		t.Errorf("a switch afterwards: exit %d: %s", code, problems)
	}
	d.awaitHealth("blue", "healthy")
	if log := read(t, d.log); strings.Contains(log, `is unhealthy`) {
		t.Error("a slot is blamed for what we lacked")
	}
}
