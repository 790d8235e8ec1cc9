package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
)

// startSink runs a slot that reads whole bodies, in HTTP/1.1 and h2c, and
// answers with what it read.
func startSink(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Write(body)
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return ln.Addr().String()
}

// Each piece must come back before the next is sent.
func TestBodiesFlowInBothDirectionsAtOnce(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		r := bufio.NewReader(c)
		for {
			var size int
			line, err := r.ReadString('\n')
			if _, scanErr := fmt.Sscanf(line, "%x\r\n", &size); err != nil || scanErr != nil {
				return
			}
			piece := make([]byte, size+2)
			if _, err := io.ReadFull(r, piece); err != nil {
				return
			}
			c.Say(line + string(piece))
		}
	})
	body, client := io.Pipe()
	res, err := testTransport(t, slot.Addr()).RoundTrip(newRequest(t, "POST", body))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		want := fmt.Sprintf("piece %d", i)
		io.WriteString(client, want) //nolint:errcheck // the answer tells
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Fatalf("%q came back, %v; want %q", got, err, want)
		}
	}
	client.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 {
		t.Errorf("the end: %q, %v", rest, err)
	}
}

// A small body that comes in pieces is passed on in pieces (P4).
func TestSmallBodiesAreNotGathered(t *testing.T) {
	got := make(chan string)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		for range 3 {
			b := make([]byte, 1)
			io.ReadFull(c, b) //nolint:errcheck // see below
			got <- string(b)
		}
		c.Answer("ok")
	})
	body, client := io.Pipe()
	req := newRequest(t, "POST", body)
	req.ContentLength = 3
	go func() {
		for _, want := range []string{"a", "b", "c"} {
			io.WriteString(client, want) //nolint:errcheck // the slot tells
			if b := <-got; b != want {
				t.Errorf("the slot got %q, want %q", b, want)
			}
		}
		client.Close()
	}()
	rt := testTransport(t, slot.Addr())
	roundTrip(t, rt, req)
	if idleCount(rt) != 1 {
		t.Error("the connection was not kept")
	}
}

// hints traces the informational answers of a request.
func hints(req *http.Request, got *[]string, result error) *http.Request {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		var fields []string
		for name, v := range h {
			fields = append(fields, name+"="+strings.Join(v, ","))
		}
		*got = append(*got, fmt.Sprint(code, fields))
		return result
	}}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
}

func TestInformationalAnswersArePassedOnWithoutHopByHopFields(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for c.Request() != nil {
			c.Say("HTTP/1.1 100 Continue\r\n\r\n" +
				"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Secret, close\r\nX-Secret: 1\r\nKeep-Alive: timeout=1\r\n" +
				"Upgrade: x\r\nTe: x\r\nTrailer: x\r\nProxy-Authenticate: x\r\nProxy-Connection: x\r\n\r\n" +
				"HTTP/1.1 103 Early Hints\r\nLink: </b>\r\nTransfer-Encoding: chunked\r\n\r\n")
			c.Answer("ok")
		}
	})
	rt := testTransport(t, slot.Addr())
	var got []string
	if _, body := roundTrip(t, rt, hints(newRequest(t, "GET", nil), &got, nil)); body != "ok" {
		t.Errorf("body %q", body)
	}
	want := []string{"100 []", "103 [Link=</a>]", "103 [Link=</b>]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("informational answers (-want +got):\n%s", diff)
	}
	stop := errors.New("the client cannot be written to")
	if _, err := rt.RoundTrip(hints(newRequest(t, "GET", nil), &got, stop)); err != stop {
		t.Errorf("error %v, want the hook's", err)
	}
}

func TestInformationalAnswersAreBoundedInNumber(t *testing.T) {
	for _, n := range []int{maxInfos, maxInfos + 1} {
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			c.Request()
			c.Say(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", n))
			c.Answer("ok")
		})
		res, err := testTransport(t, slot.Addr()).RoundTrip(newRequest(t, "GET", nil))
		if err == nil {
			res.Body.Close()
		}
		if want := n > maxInfos; (causeOf(err) == causeProtocol) != want {
			t.Errorf("%d of them: %v", n, err)
		}
	}
}

// counting counts what is read of a body.
type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

func TestBodiesWaitForLeave(t *testing.T) {
	const length = "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno"
	for _, tt := range []struct {
		name, before string // what the slot says before it reads the body
		status, read int
	}{
		{"100", "HTTP/1.1 100 Continue\r\n\r\n", 200, 4},
		{"103, then 100", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n", 200, 4},
		{"103 only", "HTTP/1.1 103 Early Hints\r\n\r\n", 200, 4},
		{"nothing", "", 200, 4},
		{"final at once", length, 417, 0},
		{"103, then final", "HTTP/1.1 103 Early Hints\r\n\r\n" + length, 417, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				if c.Head() == "" {
					return
				}
				c.Say(tt.before)
				if tt.read == 0 {
					c.Hang()
				}
				io.ReadFull(c, make([]byte, 4)) //nolint:errcheck // the answer tells
				c.Answer("ok")
				c.Hang()
			})
			body := &counting{Reader: strings.NewReader("body")}
			req := newRequest(t, "POST", body)
			req.ContentLength = 4
			req.Header.Set("Expect", "100-Continue")
			rt := testTransport(t, slot.Addr())
			rt.continueWait = soon
			res, _ := roundTrip(t, rt, req)
			if res.StatusCode != tt.status || body.n != tt.read {
				t.Errorf("status %d after %d bytes of the body, want %d after %d", res.StatusCode, body.n, tt.status, tt.read)
			}
			if kept := idleCount(rt) == 1; kept != (tt.read == 4) {
				t.Errorf("kept %v", kept)
			}
		})
	}
}

func upgradeRequest(t testing.TB) *http.Request {
	req := newRequest(t, "GET", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	return req
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

func TestUpgradesBecomeTunnels(t *testing.T) {
	gone := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say(switching + "early ")
		b, _ := io.ReadAll(c) // until the other side closes its half
		c.Say("got " + string(b))
		c.CloseWrite()
		close(gone)
	})
	rt := testTransport(t, slot.Addr(), func(s *Service) { s.StreamIdleTimeout = soon })
	res, err := rt.RoundTrip(upgradeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	tunnel, ok := res.Body.(interface {
		io.ReadWriteCloser
		CloseWrite() error
	})
	if !ok || res.StatusCode != 101 {
		t.Fatalf("%d with a %T", res.StatusCode, res.Body)
	}
	io.WriteString(tunnel, "hello") //nolint:errcheck // the answer tells
	if err := tunnel.CloseWrite(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(tunnel); err != nil || string(b) != "early got hello" {
		t.Errorf("%q, %v", b, err)
	}
	<-gone
	tunnel.Close()
	if idleCount(rt) != 0 {
		t.Error("an upgraded connection was kept")
	}
}

func TestTheContextEndsATunnel(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) { c.Head(); c.Say(switching); c.Hang() })
	req := upgradeRequest(t)
	ctx, cancel := context.WithCancel(req.Context())
	res, err := testTransport(t, slot.Addr()).RoundTrip(req.WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cancel()
	if _, err := res.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("error %v, want that of a closed connection", err)
	}
}

func TestARefusedUpgradeIsAnOrdinaryAnswer(t *testing.T) {
	slot := proxytest.Start(t, proxytest.KeepAlive("plain"))
	rt := testTransport(t, slot.Addr())
	if res, body := roundTrip(t, rt, upgradeRequest(t)); res.StatusCode != 200 || body != "plain" || idleCount(rt) != 1 {
		t.Errorf("%d %q, %d kept", res.StatusCode, body, idleCount(rt))
	}
}
