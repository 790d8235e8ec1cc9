package e2e

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// strictNode is a slot that counts what Node's parser refuses. It answers with
// that count and with every request that came by the same connection, so that
// a request within a request shows.
const strictNode = `
const http = require('node:http');
let refused = 0, served = 0;
const server = http.createServer((req, res) => {
  req.on('error', () => {});
  req.resume().on('end', () => res.end(JSON.stringify({ refused, served: ++served, method: req.method, url: req.url })));
});
server.on('clientError', (err, socket) => {
  if (err.code !== 'ECONNRESET' && err.code !== 'HPE_INVALID_EOF_STATE') { refused++; console.error(err.code, String(err.rawPacket).slice(0, 300)); }
  socket.destroy();
});
server.on('connect', (req, socket) => { refused++; console.error('CONNECT', req.url); socket.destroy(); });
server.on('upgrade', (req, socket) => { refused++; console.error('Upgrade', req.headers.upgrade); socket.destroy(); });
server.listen(Number(process.argv[1]), '127.0.0.1');
`

// startStrictNode runs such a slot.
func startStrictNode(t *testing.T) string {
	t.Helper()
	addr := freeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	start(t, "strict Node", exec.Command(program(t, "node", "nodejs"), "-e", strictNode, port)).awaitListening(addr)
	return addr
}

// hostile builds requests that go wrong in one way each, in every place where
// that way fits.
func hostile() []string {
	var all []string
	for _, line := range []string{
		"GET / HTTP/1.1", "GET / HTTP/1.0", "GET / HTTP/1.2", "GET / HTTP/0.9", "GET / HTTP/3.0", "GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ",
		"GET\t/ HTTP/1.1", " GET / HTTP/1.1", "get / HTTP/1.1", "BREW / HTTP/1.1", "GE\x00T / HTTP/1.1", "G\xc3\x89T / HTTP/1.1", "CONNECT a:80 HTTP/1.1",
		"CONNECT / HTTP/1.1", "GET a:80 HTTP/1.1", "GET a HTTP/1.1", "GET * HTTP/1.1", "OPTIONS * HTTP/1.1", "OPTIONS *x HTTP/1.1", "PRI * HTTP/1.1",
		"SOURCE / HTTP/1.1", "PURGE / HTTP/1.1", "M-SEARCH * HTTP/1.1", "QUERY /q HTTP/1.1", "GET http://a/ HTTP/1.1", "GET http:// HTTP/1.1", "GET http:/// HTTP/1.1",
		"GET http://a:x/ HTTP/1.1", "GET http://u@a/ HTTP/1.1", "GET http://[::1/ HTTP/1.1", "GET https://b/ HTTP/1.1", "GET javascript:x HTTP/1.1", "GET //b/ HTTP/1.1",
		"GET /a#b HTTP/1.1", "GET /% HTTP/1.1", "GET /%zz HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /a\x0bb HTTP/1.1", "GET /a b HTTP/1.1", "GET /?a b HTTP/1.1",
		"GET /\"<>\\^`{|} HTTP/1.1", "GET /?\"<>\\^`{|} HTTP/1.1", "GET ? HTTP/1.1", "GET ?a HTTP/1.1", "GET /" + strings.Repeat("a", 8000) + " HTTP/1.1",
	} {
		all = append(all, line+"\r\nHost: a\r\n\r\n", line+"\nHost: a\n\n")
	}
	for _, field := range []string{
		"X", ": x", "X : y", "X\t: y", " X: y", "X: \x00", "X: \x01", "X: \x7f", "X: \xff", "X: a\rb", "X: a\r b", "X(: y", "X\x00: y", "\xc3\x89: y", "X: a\r\n b", "X: a\r\n\tb", "X:\r\n",
		"X: " + strings.Repeat("a", 12000), "Content-Length: 0", "Content-Length: -0", "Content-Length: +0", "Content-Length: 0x0", "Content-Length: 0, 0", "Content-Length: ",
		"Content-Length: 00", "Content-Length: 0\r\nContent-Length: 0", "Content-Length: 0\r\nContent-Length: 1", "Content_Length: 9", "Content-Length: 4294967296", "Content-Length: 1e1",
		"Transfer-Encoding: chunked", "Transfer-Encoding: Chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: gzip, chunked",
		"Transfer-Encoding: identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Transfer-Encoding:\tchunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding : chunked",
		"Transfer_Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 30", "Content-Length: 30\r\nTransfer-Encoding: chunked", "TE: chunked", "Trailer: Content-Length", "Trailer: Host, X",
		"Expect: 100-continue", "Expect: x", "Upgrade: h2c\r\nConnection: Upgrade", "Upgrade: x\r\nConnection: upgrade", "Upgrade: websocket", "Connection: upgrade", "Connection: close, \x00",
		"Connection: Host", "Connection: Content-Length\r\nContent-Length: 0", "Connection: Transfer-Encoding", "Host: b", "Host: a", "Proxy-Connection: keep-alive", "Keep-Alive: timeout=\x00",
		"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", "Sec-WebSocket-Key: x", "Cookie: a=\"\x01\"", "X-Forwarded-For: \x00",
	} {
		for _, method := range []string{"GET", "POST", "HEAD", "DELETE"} {
			head := method + " /first HTTP/1.1\r\nHost: a\r\n" + field + "\r\n\r\n"
			all = append(all, head, head+"GET /second HTTP/1.1\r\nHost: a\r\n\r\n", head+"0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n")
		}
		all = append(all, "POST /first HTTP/1.0\r\nConnection: keep-alive\r\n"+field+"\r\n\r\n0\r\n\r\n")
	}
	for _, chunks := range []string{
		"", "0", "0\r\n", "0\r\n\r\n", "0\n\n", "5\r\nhello\r\n0\r\n\r\n", "5\nhello\n0\n\n", "+5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", " 5\r\nhello\r\n0\r\n\r\n",
		"5;\x00\r\nhello\r\n0\r\n\r\n", "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n",
		"-1\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\nhello", "10000000000000005\r\nhello\r\n0\r\n\r\n", "5\r\nhell", "g\r\n", "5\r\nhello\r\n0\r\nHost: b\r\n\r\n", "5\r\nhello\r\n0\r\nX: a\x00\r\n\r\n",
		"5\r\nhello\r\n0\r\nX : y\r\n\r\n", "5\r\nhello\r\n0\r\nX\r\n\r\n", "5\r\nhello\r\n0\r\n: y\r\n\r\n", "5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n",
		"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n", "5" + strings.Repeat(";x", 3000) + "\r\nhello\r\n0\r\n\r\n",
	} {
		all = append(all, "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks)
	}
	return all
}

// TestNothingHostileReachesNodesParser sends what strangers send and asks the
// slot whether its parser had to refuse any of it: it would drop a connection
// that other requests use as well.
func TestNothingHostileReachesNodesParser(t *testing.T) {
	d := startDaemon(t, startStrictNode(t), startStrictNode(t))
	requests := hostile()
	work := make(chan string)
	var senders sync.WaitGroup
	for range 16 {
		senders.Go(func() {
			for request := range work {
				if err := sendRaw(d.addr, request); err != nil {
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

	var got struct{ Refused, Served int }
	s := site{T: t, base: d.addr}
	_, body := s.get("/after")
	s.decode(body, &got)
	t.Logf("%d hostile requests, %d served, %d refused by Node", len(requests), got.Served, got.Refused)
	if got.Refused > 0 {
		t.Errorf("Node's parser refused %d requests that we passed on", got.Refused)
	}
	if len(requests) < 600 {
		t.Errorf("only %d requests", len(requests))
	}
	if slots := d.slots()["blue"]; slots.Health.State != "healthy" {
		t.Errorf("the slot is %s: %s", slots.Health.State, slots.Health.Error)
	}
}

// sendRaw says one thing, no more, and reads until the connection ends.
func sendRaw(addr, request string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(c)
	if len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.") {
		return fmt.Errorf("answered %.100q, %w", answer, err)
	}
	return nil
}
