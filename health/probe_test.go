package health_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"charactier-proxy/health"

	"github.com/google/go-cmp/cmp"
)

// impatient is long enough for a busy machine where an answer is expected to
// come, and short enough to wait for where none will.
const (
	patient   = 10 * time.Second
	impatient = 50 * time.Millisecond
)

func TestProbeJudgesTheAnswer(t *testing.T) {
	redirect := http.RedirectHandler("/login", http.StatusFound)
	tests := map[string]struct {
		check   health.Check
		handler http.Handler
		want    string // what follows "probing ADDRESS: "; empty: healthy
	}{
		"200 is healthy":               {health.Check{}, answer(200, "ok"), ""},
		"204 is healthy":               {health.Check{}, answer(204, ""), ""},
		"an unknown 2xx is healthy":    {health.Check{}, answer(299, ""), ""},
		"503 is not":                   {health.Check{Path: "/api/v1/health"}, answer(503, ""), "GET /api/v1/health: 503 Service Unavailable"},
		"an unknown status is printed": {health.Check{}, answer(555, ""), "GET /: 555"},
		"a redirect is not followed":   {health.Check{Path: "/up"}, redirect, `GET /up: 302 Found (to "/login"; redirects are not followed)`},
		"an expected redirect is fine": {health.Check{Status: status("301-302")}, redirect, ""},
		"200 where 204 is expected":    {health.Check{Status: status("204")}, answer(200, ""), "GET /: 200 OK"},
		"one of two expected":          {health.Check{Status: status("204", "400-404")}, answer(401, ""), ""},
		"the body is as expected":      {health.Check{Body: `"db":"up"`}, answer(200, `{"db":"up"}`), ""},
		"the body is not":              {health.Check{Body: `"db":"up"`}, answer(200, `{"db":"down"}`), `GET /: body does not contain "\"db\":\"up\""`},
		"the status comes first":       {health.Check{Body: "ok"}, answer(500, "nope"), "GET /: 500 Internal Server Error"},
		"HEAD has no body":             {health.Check{Method: "HEAD"}, answer(200, "ok"), ""},
		"an endless body is cut":       {health.Check{}, endless("x"), ""},
		"text at the end of 64 KiB":    {health.Check{Body: "ok"}, answer(200, strings.Repeat("x", 64<<10-2)+"ok"), ""},
		"text beyond 64 KiB":           {health.Check{Body: "ok"}, answer(200, strings.Repeat("x", 64<<10-1)+"ok"), `GET /: body does not contain "ok"`},
		"gzip was not asked for":       {health.Check{}, refuseField("Accept-Encoding"), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(tt.handler)
			defer srv.Close()
			tt.check.Timeout = patient
			address := srv.Listener.Addr().String()
			checkError(t, tt.check.Probe(t.Context(), address), address, tt.want)
		})
	}
}

func TestProbeSendsWhatTheCheckSays(t *testing.T) {
	type sent struct {
		Method, URI, Host, Proto, UserAgent, Extra string
		Close                                      bool
	}
	var got sent
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = sent{r.Method, r.RequestURI, r.Host, r.Proto, r.UserAgent(), r.Header.Get("X-Extra"), r.Close}
	}))
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	defer srv.Close()
	address := srv.Listener.Addr().String()

	tests := map[string]struct {
		check health.Check
		want  sent
	}{
		"by default": {
			health.Check{Path: "/up"},
			sent{"GET", "/up", address, "HTTP/1.1", "charactier-proxy-health", "", true},
		},
		"all of it": {
			health.Check{Method: "OPTIONS", Path: "//a%2Fb?x=1;y=%zz", Host: "shop.example.com", Header: http.Header{"x-extra": {"1"}, "User-Agent": {"me"}}},
			sent{"OPTIONS", "//a%2Fb?x=1;y=%zz", "shop.example.com", "HTTP/1.1", "me", "1", true},
		},
		"over h2c": {
			health.Check{Path: "/up", Protocol: health.H2C},
			sent{"GET", "/up", address, "HTTP/2.0", "charactier-proxy-health", "", false},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
			tt.check.Timeout = patient
			if err := tt.check.Probe(t.Context(), address); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProbeSurvivesBadAnswers(t *testing.T) {
	tests := map[string]struct {
		timeout time.Duration
		serve   func(net.Conn) // called after the request's head was read
		want    string
	}{
		"closed without an answer":     {patient, func(net.Conn) {}, "GET /: no answer: unexpected EOF"},
		"garbage":                      {patient, say("SSH-2.0-OpenSSH_9.2\r\n\r\n"), `GET /: malformed HTTP response "SSH-2.0-OpenSSH_9.2"`},
		"a TLS alert":                  {patient, say("\x15\x03\x01\x00\x02\x02\x46\n"), `GET /: malformed HTTP response "\x15\x03\x01\x00\x02\x02F"`},
		"a body cut short":             {patient, say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "GET /: no complete answer: unexpected EOF"},
		"a bad status and a cut body":  {patient, say("HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nok"), "GET /: 503 Service Unavailable"},
		"a reason that lies":           {patient, say("HTTP/1.1 500 OK\r\n\r\n"), "GET /: 500 Internal Server Error"},
		"silence":                      {impatient, hang, "GET /: no answer within 50ms"},
		"half a head":                  {impatient, then(say("HTTP/1.1 200 OK\r\nA:"), hang), "GET /: no answer within 50ms"},
		"half a body":                  {impatient, then(say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), hang), "GET /: no complete answer within 50ms"},
		"1xx without end":              {patient, forever("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"), "GET /: net/http: server response headers exceeded 65536 bytes; aborted"},
		"a head without end":           {patient, then(say("HTTP/1.1 200 OK\r\n"), forever("A: aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")), "GET /: net/http: server response headers exceeded 65536 bytes; aborted"},
		"early hints are no answer":    {patient, say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ""},
		"keep-alive despite close":     {patient, then(say("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"), awaitClose), ""},
		"an upgrade nobody asked for":  {patient, say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"), "GET /: 101 Switching Protocols"},
		"HTTP/1.0 until close":         {patient, say("HTTP/1.0 200 OK\r\n\r\nok"), ""},
		"more bytes than were claimed": {patient, say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more"), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			address := serveRaw(t, "tcp", "127.0.0.1:0", tt.serve)
			check := health.Check{Timeout: tt.timeout}
			checkError(t, check.Probe(t.Context(), address), address, tt.want)
		})
	}
}

func TestProbeOfATLSPortIsNotHealthy(t *testing.T) {
	srv := httptest.NewUnstartedServer(answer(200, ""))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	address := srv.Listener.Addr().String()
	checkError(t, health.Check{Timeout: patient}.Probe(t.Context(), address), address, "GET /: 400 Bad Request")
}

func TestProbeReachesAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	var host string
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host = r.Host })}
	go srv.Serve(l)
	if err := (health.Check{Timeout: patient}).Probe(t.Context(), "unix:"+path); err != nil || host != "localhost" {
		t.Errorf("Probe = %v with Host %q, want nil and localhost", err, host)
	}
	srv.Close()
	err = health.Check{Timeout: patient}.Probe(t.Context(), "unix:"+path)
	checkError(t, err, "unix:"+path, "no such file or directory")
	if !health.Refused(err) {
		t.Errorf("a missing socket is not taken for a refused connect: %v", err)
	}
}

func TestOnlyARefusedConnectIsCertain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	err = health.Check{Timeout: patient}.Probe(t.Context(), address)
	checkError(t, err, address, "connection refused")
	if !health.Refused(err) {
		t.Errorf("Refused(%v) = false", err)
	}
	for _, serve := range []func(net.Conn){func(net.Conn) {}, hang, say("garbage\n")} {
		err := health.Check{Timeout: impatient}.Probe(t.Context(), serveRaw(t, "tcp", "127.0.0.1:0", serve))
		if err == nil || health.Refused(err) {
			t.Errorf("Refused(%v) = true, want false", err)
		}
	}
}

func TestProbeThatCannotConnectEndsInTime(t *testing.T) {
	// A listener whose queue is full drops the handshake: the connect hangs.
	l := fullListener(t)
	check := health.Check{Timeout: impatient}
	err := check.Probe(t.Context(), l)
	checkError(t, err, l, "no connection within 50ms")
	if !errors.Is(err, context.DeadlineExceeded) || health.Refused(err) {
		t.Errorf("%v: want a deadline and no refusal", err)
	}
}

func TestProbeReportsWhyItsContextEnded(t *testing.T) {
	why := errors.New("the daemon stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	address := serveRaw(t, "tcp", "127.0.0.1:0", then(func(net.Conn) { cancel(why) }, hang))
	if err := (health.Check{Timeout: patient}).Probe(ctx, address); !errors.Is(err, why) {
		t.Errorf("Probe = %v, want %v", err, why)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := (health.Check{Timeout: patient}).Probe(ctx, address); !errors.Is(err, context.Canceled) {
		t.Errorf("Probe = %v, want %v", err, context.Canceled)
	}
}

func TestProbeNamesAHostThatDoesNotResolve(t *testing.T) {
	err := health.Check{Timeout: patient}.Probe(t.Context(), "no-such-host.invalid:80")
	if err == nil || !strings.Contains(err.Error(), "no-such-host.invalid:80: lookup no-such-host.invalid") || health.Refused(err) {
		t.Errorf("Probe = %v", err)
	}
}

func checkError(t *testing.T, err error, address, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if want != "" {
		want = "probing " + address + ": " + want
	}
	if got != want {
		t.Errorf("Probe = %q, want %q", got, want)
	}
}

func status(texts ...string) []health.StatusRange {
	var ranges []health.StatusRange
	for _, text := range texts {
		r, err := health.ParseStatus(text)
		if err != nil {
			panic(err)
		}
		ranges = append(ranges, r)
	}
	return ranges
}

func answer(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func endless(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	})
}

func refuseField(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get(name); v != "" {
			http.Error(w, fmt.Sprintf("%s: %s", name, v), http.StatusTeapot)
		}
	})
}

// serveRaw reads one request's head from each connection and lets serve answer
// it. The test waits until serve has returned.
func serveRaw(t *testing.T, network, address string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			for line := "x"; err == nil && strings.TrimSpace(line) != ""; {
				line, err = r.ReadString('\n')
			}
			serve(c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func say(text string) func(net.Conn) {
	return func(c net.Conn) { io.WriteString(c, text) }
}

func forever(text string) func(net.Conn) {
	return func(c net.Conn) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

// hang says nothing until the client leaves.
func hang(c net.Conn) { io.Copy(io.Discard, c) }

// awaitClose is what Node does after an answer: it is the client that closes.
var awaitClose = hang

func then(first, second func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) { first(c); second(c) }
}
