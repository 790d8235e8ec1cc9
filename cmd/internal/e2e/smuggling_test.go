package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// seen is a request as one of the three parsers understood it.
type seen struct {
	ID     string `json:"id"`
	Method string `json:"method"`
	URI    string `json:"uri"`
}

// witnessNode is a slot that writes down what it sees, also what its parser
// refuses.
const witnessNode = `
const http = require('node:http'), fs = require('node:fs');
const say = (o) => fs.appendFileSync(process.argv[2], JSON.stringify(o) + '\n');
const server = http.createServer((req, res) => {
  req.on('error', () => {});
  say({ id: req.headers['x-request-id'], method: req.method, uri: req.url });
  req.resume().on('end', () => res.end('ok'));
});
server.on('clientError', (err, socket) => {
  if (err.code !== 'ECONNRESET' && err.code !== 'HPE_INVALID_EOF_STATE') say({ id: 'refused ' + err.code, method: String(err.rawPacket).slice(0, 300) });
  socket.destroy();
});
server.on('connect', (req, socket) => { say({ id: 'refused connect', method: req.method, uri: req.url }); socket.destroy(); });
server.on('upgrade', (req, socket) => {
  const wanted = req.headers.upgrade === 'websocket';
  say({ id: wanted ? req.headers['x-request-id'] : 'refused upgrade', method: req.method, uri: req.url });
  socket.end('HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
});
server.listen(Number(process.argv[1]), '127.0.0.1');
`

// nginxWitness passes all to us, as it stands in production, and gives each
// request an id that we and the slot keep. buffering says whether it reads a body
// before it sends it, which makes its length known.
const nginxWitness = `user root; daemon off; worker_processes 1; pid nginx.pid; error_log error.log crit;
events { worker_connections 1024; }
http {
  log_format seen escape=json '{"id":"$request_id","method":"$request_method","uri":"$request_uri"}';
  access_log %[1]s seen;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  lingering_close off; merge_slashes off; underscores_in_headers on;
  upstream backend { server %[2]s; keepalive 32; keepalive_timeout 60s; }
  server { listen %[3]s; location / {
    proxy_pass http://backend; proxy_http_version 1.1; proxy_request_buffering %[4]s;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection 'upgrade'; proxy_set_header Host $host;
    proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Request-ID $request_id;
  } }
}
`

// smuggling is the corpus of testdata.
func smuggling(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../../testdata/smuggling/*.http")
	if err != nil || len(files) < 90 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	corpus := map[string]string{}
	for _, file := range files {
		corpus[filepath.Base(file)] = read(t, file)
	}
	return corpus
}

// TestThreeParsersReadOneThing sends what might be read in two ways through a
// real nginx, us and a real Node, and compares what each of them says it saw.
// Whatever Node sees must be a request that nginx saw too, the same and once, and
// its parser must have nothing to refuse.
func TestThreeParsersReadOneThing(t *testing.T) {
	for _, buffering := range []string{"on", "off"} {
		t.Run("proxy_request_buffering "+buffering, func(t *testing.T) {
			w := startWitnesses(t, buffering)
			requests := hostile()
			for _, raw := range smuggling(t) {
				requests = append(requests, raw)
			}
			sendAll(t, w.nginx, requests)
			w.compare(t, w.nginxLog, true)
			t.Logf("%d messages; nginx saw %d requests, we %d, Node %d", len(requests),
				len(readSeen(t, w.nginxLog)), len(w.ours(t)), len(readSeen(t, w.nodeLog)))
		})
	}
}

// TestTwoParsersReadOneThing is the same without nginx, whose own parser keeps
// much of it from us, and in both lanes.
func TestTwoParsersReadOneThing(t *testing.T) {
	for _, lane := range []bool{true, false} {
		t.Run(fmt.Sprintf("fast_lane %t", lane), func(t *testing.T) {
			w := startWitnesses(t, "on", fmt.Sprintf("server: {fast_lane: %t}\n", lane))
			var requests []string
			for _, raw := range smuggling(t) {
				requests = append(requests, raw)
			}
			sendAll(t, w.daemon.addr, requests)
			w.compare(t, "", false)
			t.Logf("%d messages; we saw %d requests, Node %d", len(requests), len(w.ours(t)), len(readSeen(t, w.nodeLog)))
		})
	}
}

func sendAll(t *testing.T, addr string, requests []string) {
	t.Helper()
	work := make(chan string)
	var senders sync.WaitGroup
	for range 32 {
		senders.Go(func() {
			for request := range work {
				if err := sendAndListen(addr, request); err != nil {
					t.Errorf("%.200q: %v", request, err)
				}
			}
		})
	}
	for _, request := range requests {
		work <- request
	}
	close(work)
	senders.Wait()
}

// sendAndListen says one thing and listens until there is silence. It does not
// shut down its side: nginx takes that for a client that has left.
func sendAndListen(addr, request string) error {
	const silence = 300 * time.Millisecond
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		return nil // it was refused before it was said
	}
	for buf := make([]byte, 4096); ; {
		if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		if _, err := c.Read(buf); err != nil {
			return nil
		}
	}
}

// witnesses are nginx, the daemon and Node with what each of them wrote down.
type witnesses struct {
	nginx             string
	daemon            *daemon
	nginxLog, nodeLog string
	access            string
}

func startWitnesses(t *testing.T, buffering string, more ...string) *witnesses {
	t.Helper()
	dir := shortDir(t)
	w := &witnesses{
		nginx: freeAddr(t), nginxLog: filepath.Join(dir, "nginx.log"), nodeLog: filepath.Join(dir, "node.log"),
		access: filepath.Join(dir, "access.log"),
	}
	slot := freeAddr(t)
	_, port, _ := strings.Cut(slot, ":")
	node := start(t, "witness Node", exec.Command(program(t, "node", "nodejs"), "-e", witnessNode, port, w.nodeLog))
	node.awaitListening(slot)
	w.daemon = newDaemon(t, freeAddr(t), slot, startStrictNode(t))
	w.daemon.reconfigure(fmt.Sprintf("access_log: {enabled: true, path: %s, query: verbatim}\n", w.access) + strings.Join(more, ""))
	w.daemon.start()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxWitness, w.nginxLog, w.daemon.addr, w.nginx, buffering)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, "nginx", exec.Command(program(t, "nginx", "nginx-light"), "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")))
	n.awaitListening(w.nginx)
	t.Cleanup(func() { n.signal(15); <-n.done })
	return w
}

// compare holds what Node saw against what those before it saw.
func (w *witnesses) compare(t *testing.T, nginxLog string, byNginx bool) {
	t.Helper()
	w.settle(t)
	ours := index(w.ours(t))
	var front map[string][]seen
	if byNginx {
		front = index(readSeen(t, nginxLog))
	}
	arrived := index(readSeen(t, w.nodeLog))
	for id, at := range arrived {
		if strings.HasPrefix(id, "refused") {
			t.Errorf("Node's parser: %+v", at)
			continue
		}
		if strings.HasSuffix(at[0].URI, "/health") && ours[id] == nil {
			continue // a probe
		}
		if len(at) != 1 || len(ours[id]) != 1 || !ours[id][0].is(at[0]) {
			t.Errorf("Node saw %+v, we %+v", at, ours[id])
		}
		if byNginx && (len(front[id]) != 1 || !front[id][0].is(at[0])) {
			t.Errorf("Node saw %+v, nginx %+v", at, front[id])
		}
	}
	if len(arrived) < 50 {
		t.Errorf("Node saw %d requests only", len(arrived))
	}
}

// settle waits until nobody writes down any more.
func (w *witnesses) settle(t *testing.T) {
	t.Helper()
	eventually(t, "no request is under way", func() error {
		for name, s := range w.daemon.slots() {
			if s.InFlight > 0 {
				return fmt.Errorf("%d on %s", s.InFlight, name)
			}
		}
		return nil
	})
}

// is reports whether both are the same request. Who passes one on may leave away
// the scheme and the host of its target.
func (s seen) is(behind seen) bool {
	target := s.URI
	if _, rest, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		_, path, _ := strings.Cut(rest, "/")
		target = "/" + path
	}
	return s.ID == behind.ID && s.Method == behind.Method && target == behind.URI
}

func index(all []seen) map[string][]seen {
	byID := map[string][]seen{}
	for _, s := range all {
		byID[s.ID] = append(byID[s.ID], s)
	}
	return byID
}

func readSeen(t *testing.T, path string) (all []seen) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s seen
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatalf("%s: %v: %s", path, err, lines.Text())
		}
		all = append(all, s)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// ours is what our access log says of the requests that went to a slot.
func (w *witnesses) ours(t *testing.T) (all []seen) {
	t.Helper()
	f, err := os.Open(w.access)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			ID     string `json:"request_id"`
			Method string `json:"method"`
			Path   string `json:"path"`
			Slot   string `json:"slot"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		if e.Slot != "" {
			all = append(all, seen{e.ID, e.Method, e.Path})
		}
	}
	return all
}
