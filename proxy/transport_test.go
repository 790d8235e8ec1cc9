package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// patience is how long a test waits for what must happen; none waits it out.
const patience = 10 * time.Second

// testService is a service with one slot and limits that no test meets by
// accident.
func testService(address string) *Service {
	return &Service{
		Name: "backend", Slots: map[string]string{"blue": address}, Protocol: HTTP1,
		ConnectTimeout: patience, ResponseHeaderTimeout: patience, StreamIdleTimeout: patience,
		SlotIdleTimeout: time.Minute, MaxIdleSlotConns: 8,
	}
}

// testTransport is the way to slot, which retires with the test.
func testTransport(t testing.TB, address string, change ...func(*Service)) *transport {
	t.Helper()
	s := testService(address)
	for _, f := range change {
		f(s)
	}
	rt := newTransport(s, "blue", nil).(*transport)
	t.Cleanup(rt.Retire)
	return rt
}

// unsized hides a body's length, so that it is sent in chunks.
type unsized struct{ io.Reader }

func newRequest(t testing.TB, method string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://slot.example/path?q=1", body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// roundTrip sends the request and reads the whole answer.
func roundTrip(t testing.TB, rt http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", req.Method, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: reading the answer: %v", req.Method, err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// causeOf is the slot's fault in err, or nothing.
func causeOf(err error) cause {
	var fault *slotError
	if errors.As(err, &fault) {
		return fault.cause
	}
	return ""
}

// idleCount is the number of idle connections.
func idleCount(rt *transport) int {
	rt.pool.mu.Lock()
	defer rt.pool.mu.Unlock()
	return len(rt.pool.idle)
}

func TestRequestHeadIsSentAsGiven(t *testing.T) {
	heads := make(chan string, 1)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		heads <- c.Head()
		c.Answer("")
	})
	req := newRequest(t, "GET", nil)
	req.URL.Path, req.URL.RawPath = "/a b/ü", "/a%20b/%c3%bc"
	req.URL.RawQuery = "a=1;b=%zz&c"
	req.Host = "app.example:8080"
	req.Header = http.Header{"User-Agent": {""}, "X-One": {"a", "b"}, "Te": {"trailers"}, "Cookie": {`a="1 2"`}}
	roundTrip(t, testTransport(t, slot.Addr()), req)
	want := "GET /a%20b/%c3%bc?a=1;b=%zz&c HTTP/1.1\r\nHost: app.example:8080\r\n" +
		"Cookie: a=\"1 2\"\r\nTe: trailers\r\nX-One: a\r\nX-One: b\r\n\r\n"
	if got := <-heads; got != want {
		t.Errorf("head:\n%q\nwant\n%q", got, want)
	}
}

func TestRequestFramingIsSaid(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		body         io.Reader
		header       http.Header
		want         string
	}{
		{"a GET says nothing", "GET", nil, nil, ""},
		{"an empty POST says zero", "POST", nil, nil, "Content-Length: 0\r\n"},
		{"an empty DELETE says zero if the client did", "DELETE", nil, http.Header{"Content-Length": {"0"}}, "Content-Length: 0\r\n"},
		{"a known length is said", "POST", strings.NewReader("abc"), nil, "Content-Length: 3\r\n"},
		{"an unknown length is chunked", "POST", unsized{strings.NewReader("abc")}, nil, "Transfer-Encoding: chunked\r\n"},
		{"lengths of others are not believed", "POST", strings.NewReader("abc"),
			http.Header{"Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}}, "Content-Length: 3\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			heads := make(chan string, 1)
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				heads <- c.Head()
				c.Answer("")
			})
			req := newRequest(t, tt.method, tt.body)
			req.Header = http.Header{"User-Agent": {""}}
			for k, v := range tt.header {
				req.Header[k] = v
			}
			roundTrip(t, testTransport(t, slot.Addr()), req)
			want := tt.method + " /path?q=1 HTTP/1.1\r\nHost: slot.example\r\n" + tt.want + "\r\n"
			if got := <-heads; got != want {
				t.Errorf("head %q, want %q", got, want)
			}
		})
	}
}

func TestRequestsThatWouldBreakTheFramingAreNotSent(t *testing.T) {
	slot := proxytest.Start(t, proxytest.KeepAlive("ok"))
	for name, spoil := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = "GET /x HTTP/1.1\r\nA:" },
		"host":   func(r *http.Request) { r.Host = "a\r\nX: y" },
		"opaque": func(r *http.Request) { r.URL.Opaque = "/ HTTP/1.1\r\nX: y" },
		"query":  func(r *http.Request) { r.URL.RawQuery = "a b" },
		"name":   func(r *http.Request) { r.Header["X y"] = []string{"1"} },
		"value":  func(r *http.Request) { r.Header["X"] = []string{"1\r\nY: 2"} },
		"trailer": func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(""))
			r.Trailer = http.Header{"Content-Length": nil}
		},
	} {
		req := newRequest(t, "GET", nil)
		spoil(req)
		if res, err := testTransport(t, slot.Addr()).RoundTrip(req); err == nil {
			res.Body.Close()
			t.Errorf("a bad %s was sent", name)
		}
	}
	if n := slot.Accepted(); n != 0 {
		t.Errorf("%d connections for requests that must not be sent", n)
	}
}

func TestAnswersArriveWhole(t *testing.T) {
	for _, tt := range []struct{ name, method, wire, body string }{
		{"with a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		{"in chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"},
		{"until the end", "GET", "HTTP/1.1 200 OK\r\n\r\nhello", "hello"},
		{"in HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\n\r\nhello", "hello"},
		{"for HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ""},
		{"for HEAD in chunks", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ""},
		{"as 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", ""},
		{"as 304 with a length", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", ""},
		{"without a reason", "GET", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", "hi"},
	} {
		for _, trickle := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s trickled %v", tt.name, trickle), func(t *testing.T) {
				slot := proxytest.Start(t, func(c *proxytest.Conn) {
					c.Request()
					if trickle {
						c.Trickle(tt.wire)
						return
					}
					c.Say(tt.wire)
				})
				res, body := roundTrip(t, testTransport(t, slot.Addr()), newRequest(t, tt.method, nil))
				if body != tt.body {
					t.Errorf("body %q, want %q", body, tt.body)
				}
				if tt.method == "HEAD" && strings.Contains(tt.wire, "Content-Length") && res.ContentLength != 5 {
					t.Errorf("length %d of an answer to HEAD, want 5", res.ContentLength)
				}
			})
		}
	}
}

// A body that was cut must never look like one that ended.
func TestCutAnswersNeverEndCleanly(t *testing.T) {
	for name, wire := range map[string]string{
		"short of its length":    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
		"nothing of its length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
		"within a chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhel",
		"after a chunk":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
		"before the first chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"before the last line":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\n",
		"within a trailer":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0\r\nX-Sum: 1",
	} {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) { c.Request(); c.Say(wire) })
			rt := testTransport(t, slot.Addr())
			res, err := rt.RoundTrip(newRequest(t, "GET", nil))
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.ReadAll(res.Body)
			if !errors.Is(err, io.ErrUnexpectedEOF) || causeOf(err) != causeClosed {
				t.Errorf("error %v with cause %q, want an unexpected end", err, causeOf(err))
			}
			if _, again := res.Body.Read(make([]byte, 1)); again == nil || again == io.EOF {
				t.Errorf("reading on: %v, want an error", again)
			}
			if idleCount(rt) != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	got := make(chan http.Header, 1)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for {
			req := c.Request()
			if req == nil {
				return
			}
			got <- req.Trailer
			c.Say("HTTP/1.1 200 OK\r\nTrailer: X-Announced\r\nTransfer-Encoding: chunked\r\n\r\n" +
				"2\r\nok\r\n0\r\nX-Announced: 1\r\nX-Unannounced: 2\r\n\r\n")
		}
	})
	rt := testTransport(t, slot.Addr())
	for range 2 {
		req := newRequest(t, "POST", unsized{strings.NewReader("body")})
		req.Trailer = http.Header{"X-Sum": nil}
		req.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), afterwards(func() { req.Trailer.Set("X-Sum", "7") })))
		res, _ := roundTrip(t, rt, req)
		if sum := (<-got).Get("X-Sum"); sum != "7" {
			t.Errorf("the slot got trailer %q, want 7", sum)
		}
		if a, u := res.Trailer.Get("X-Announced"), res.Trailer.Get("X-Unannounced"); a != "1" || u != "2" {
			t.Errorf("trailers %q and %q, want 1 and 2", a, u)
		}
	}
	if n := slot.Accepted(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// afterwards is a reader of nothing that calls its function.
type afterwards func()

func (f afterwards) Read([]byte) (int, error) { f(); return 0, io.EOF }

func TestBodiesOfAllSizesArriveUnchanged(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for {
			req := c.Request()
			if req == nil {
				return
			}
			body, _ := io.ReadAll(req.Body)
			c.Answer(string(body))
		}
	})
	rt := testTransport(t, slot.Addr())
	for _, size := range []int{0, 1, 4095, smallBody - 1, smallBody, smallBody + 1, copySize, copySize + 1, 1 << 20, 3<<20 + 17} {
		for _, hide := range []bool{false, true} {
			want := strings.Repeat("0123456789abcde\n", size/16+1)[:size]
			var body io.Reader = strings.NewReader(want)
			if hide {
				body = unsized{body}
			}
			if _, got := roundTrip(t, rt, newRequest(t, "POST", body)); got != want {
				t.Errorf("%d bytes sent, unsized %v: %d came back or differ", size, hide, len(got))
			}
		}
	}
	if n := slot.Accepted(); n != 1 {
		t.Errorf("%d connections, want 1: each exchange was clean", n)
	}
}

func TestUnixSocketsAreSlots(t *testing.T) {
	slot := proxytest.StartUnix(t, proxytest.KeepAlive("ok"))
	rt := testTransport(t, slot.Addr())
	for range 3 {
		if _, body := roundTrip(t, rt, newRequest(t, "POST", strings.NewReader("x"))); body != "ok" {
			t.Errorf("body %q", body)
		}
	}
	if n := slot.Accepted(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	slot := proxytest.Start(b, func(c *proxytest.Conn) {
		for c.Head() != "" {
			c.Answer("hello")
		}
	})
	plain := &http.Transport{DisableCompression: true}
	b.Cleanup(plain.CloseIdleConnections)
	for name, rt := range map[string]http.RoundTripper{"ours": testTransport(b, slot.Addr()), "net/http": plain} {
		b.Run(name, func(b *testing.B) {
			req := newRequest(b, "GET", nil)
			req.URL.Host = slot.Addr()
			b.ReportAllocs()
			for b.Loop() {
				res, err := rt.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, res.Body) //nolint:errcheck // the answer is short
				res.Body.Close()
			}
		})
	}
}
