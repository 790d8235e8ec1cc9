package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// site is where a client comes in: straight at the daemon, or at nginx before
// it as in production.
type site struct {
	*testing.T
	base  string
	nginx bool
}

// TestEveryRouteOfTheSampleApp goes through all of them, at both sites.
func TestEveryRouteOfTheSampleApp(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr)
	n := startNginx(t, d.addr)

	routes := []struct {
		name string
		test func(site)
	}{
		{"an order arrives once", site.order},
		{"a webhook keeps every byte that its signature covers", site.webhook},
		{"an event is passed on before the next one exists", site.events},
		{"an event stream goes on after Last-Event-ID", site.lastEventID},
		{"a WebSocket echoes", site.webSocket},
		{"an upload of 20 MB arrives whole", site.upload},
		{"a big answer arrives whole", site.big},
		{"a slow answer is waited for", site.slow},
		{"an answer without length ends where it ends", site.chunked},
		{"an odd status is passed on", site.status},
		{"103 comes before the answer", site.earlyHints},
		{"trailers come after the body", site.trailers},
		{"query strings arrive byte for byte", site.query},
	}
	for _, at := range []site{{base: d.addr}, {base: n.site.Listen, nginx: true}} {
		for _, r := range routes {
			t.Run(at.name()+"/"+r.name, func(t *testing.T) {
				at.T = t
				r.test(at)
			})
		}
	}
	t.Run("nginx keeps the frontend to itself", func(t *testing.T) {
		_, body := site{T: t, base: n.site.Listen}.get("/")
		if string(body) != "frontend\n" {
			t.Errorf("got %q", body)
		}
	})
}

func (s site) name() string {
	if s.nginx {
		return "through nginx"
	}
	return "directly"
}

func (s site) order() {
	id := rand.Text()
	_, body := s.do("POST", "/api/v1/orders", `{"id":"`+id+`"}`, "X-Request-Id", id, "Content-Type", "application/json")
	var got struct {
		ID    string
		Count int
		Slot  string
	}
	s.decode(body, &got)
	if got.ID != id || got.Count != 1 || got.Slot != "blue" {
		s.Errorf("got %+v", got)
	}
	if _, all := s.get("/api/v1/orders"); !strings.Contains(string(all), id+" 1\n") {
		s.Errorf("the slot's list of orders does not name %s once:\n%s", id, all)
	}
}

// webhook sends a body that any re-encoding would change.
func (s site) webhook() {
	id := rand.Text()
	payload := fmt.Sprintf("{\r\n  \"id\": %q,\t\"amount\" : 1.0e2, \"note\": \"\\u00e9é\U0001F600\"  }\n", id)
	mac := hmac.New(sha256.New, []byte("whsec_sample"))
	fmt.Fprintf(mac, "1700000000.%s", payload)
	signature := "t=1700000000,v1=" + hex.EncodeToString(mac.Sum(nil))
	resp, body := s.do("POST", "/webhooks/stripe", payload, "Stripe-Signature", signature, "Content-Type", "application/json; charset=utf-8")
	var got struct {
		ID         string
		Deliveries int
	}
	s.decode(body, &got)
	if resp.StatusCode != http.StatusOK || got.ID != id || got.Deliveries != 1 {
		s.Errorf("status %d, got %s", resp.StatusCode, body)
	}
}

// events asks for one event now and the next in an hour: a proxy that gathers
// before it passes on would never show the first.
func (s site) events() {
	events := s.stream("/api/v1/events?interval=3600000")
	if got, want := events.next(), []string{"retry: 1000"}; !cmp.Equal(got, want) {
		s.Errorf("got %q, want %q", got, want)
	}
	if got := events.next(); len(got) != 3 || got[0] != "id: 1" {
		s.Errorf("got %q, want the event 1", got)
	}
}

func (s site) lastEventID() {
	events := s.stream("/api/v1/events?interval=1&count=2", "Last-Event-ID", "41")
	events.next()
	for _, want := range []string{"id: 42", "id: 43"} {
		if got := events.next(); len(got) != 3 || got[0] != want {
			s.Errorf("got %q, want %s", got, want)
		}
	}
	if _, err := events.r.ReadByte(); err != io.EOF {
		s.Errorf("after the last event: %v, want a clean end", err)
	}
}

func (s site) webSocket() {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws://"+s.base+"/ws", nil)
	if err != nil {
		s.Fatal(err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	if got := resp.Header.Get("X-Slot"); got != "blue" {
		s.Errorf("the handshake's answer is of slot %q", got)
	}
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 300_000} {
		message := bytes.Repeat([]byte{0xC3}, size) // not UTF-8
		if err := conn.Write(ctx, websocket.MessageBinary, message); err != nil {
			s.Fatal(err)
		}
		kind, got, err := conn.Read(ctx)
		if err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, message) {
			s.Fatalf("%d bytes came back as %d bytes of kind %v: %v", size, len(got), kind, err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		s.Errorf("closing: %v", err)
	}
}

func (s site) upload() {
	payload := make([]byte, 20<<20)
	rand.Read(payload)
	_, body := s.do("POST", "/api/v1/upload", string(payload), "Content-Type", "video/mp4")
	var got struct {
		SHA256 string
		Length int
	}
	s.decode(body, &got)
	if want := sha256.Sum256(payload); got.Length != len(payload) || got.SHA256 != hex.EncodeToString(want[:]) {
		s.Errorf("got %+v", got)
	}
}

func (s site) big() {
	const size = 8 << 20
	resp, body := s.get(fmt.Sprintf("/api/v1/big?bytes=%d", size))
	want := bytes.Repeat([]byte("charactier "), size/11+1)[:size]
	if resp.ContentLength != size || !bytes.Equal(body, want) {
		s.Errorf("Content-Length %d, %d bytes", resp.ContentLength, len(body))
	}
}

func (s site) slow() {
	if resp, body := s.get("/api/v1/slow?ms=700"); resp.StatusCode != http.StatusOK {
		s.Errorf("status %d: %s", resp.StatusCode, body)
	}
}

func (s site) chunked() {
	resp, body := s.get("/api/v1/chunked?pieces=3&interval=1")
	if string(body) != "piece 1\npiece 2\npiece 3\n" || resp.ContentLength != -1 {
		s.Errorf("Content-Length %d, body %q", resp.ContentLength, body)
	}
}

func (s site) status() {
	for _, code := range []int{204, 304, 404, 418, 500, 503} {
		resp, _ := s.get(fmt.Sprintf("/api/v1/status/%d", code))
		if resp.StatusCode != code || resp.Header.Get("X-Slot") != "blue" {
			s.Errorf("got %d of slot %q, want the slot's own %d", resp.StatusCode, resp.Header.Get("X-Slot"), code)
		}
	}
}

// earlyHints is about us alone: nginx 1.22 takes no 103 from anybody.
func (s site) earlyHints() {
	if s.nginx {
		return
	}
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
		return nil
	}}
	req := s.request("GET", "/api/v1/early-hints", "")
	resp, _ := s.send(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if want := []string{"103 </style.css>; rel=preload; as=style"}; !cmp.Equal(hints, want) {
		s.Errorf("interim answers %q, want %q", hints, want)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Link") != "" {
		s.Errorf("status %d, Link %q", resp.StatusCode, resp.Header.Get("Link"))
	}
}

// trailers reach a direct client; nginx 1.22 passes on none.
func (s site) trailers() {
	resp, body := s.get("/api/v1/trailers")
	sum := sha256.Sum256(body)
	if got, want := resp.Trailer.Get("X-Checksum"), hex.EncodeToString(sum[:]); got != want && !s.nginx {
		s.Errorf("trailer %q, want %q", got, want)
	}
	if string(body) != "the trailers follow\n" {
		s.Errorf("body %q", body)
	}
}

func (s site) query() {
	const path = "/api/v1/echo?a=1;b=2&c=%zz&d=%2F&&e"
	_, body := s.get(path)
	var got struct{ URL string }
	s.decode(body, &got)
	if got.URL != path {
		s.Errorf("the slot saw %s, want %s", got.URL, path)
	}
}

// eventStream reads events one by one.
type eventStream struct {
	s     site
	r     *bufio.Reader
	close func() error
}

func (s site) stream(path string, header ...string) eventStream {
	s.Helper()
	resp, err := http.DefaultClient.Do(s.request("GET", path, "", header...))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "text/event-stream" {
		s.Fatalf("status %d, Content-Type %q", resp.StatusCode, got)
	}
	return eventStream{s, bufio.NewReader(resp.Body), resp.Body.Close}
}

// next returns the lines of the next block.
func (e eventStream) next() (lines []string) {
	e.s.Helper()
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			e.s.Fatalf("reading an event: %v", err)
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return lines
		}
		lines = append(lines, line)
	}
}

func (s site) get(path string) (*http.Response, []byte) {
	s.Helper()
	return s.do("GET", path, "")
}

func (s site) do(method, path, body string, header ...string) (*http.Response, []byte) {
	s.Helper()
	return s.send(s.request(method, path, body, header...))
}

// request makes one that ends with the test, or when patience does.
func (s site) request(method, path, body string, header ...string) *http.Request {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	s.Cleanup(cancel)
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.base+path, r)
	if err != nil {
		s.Fatal(err)
	}
	req.Host = "example.com"
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (s site) send(req *http.Request) (*http.Response, []byte) {
	s.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return resp, body
}

func (s site) decode(body []byte, to any) {
	s.Helper()
	if err := json.Unmarshal(body, to); err != nil {
		s.Fatalf("%v in %.300q", err, body)
	}
}
