package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// soon is a limit that a test waits out.
const soon = 50 * time.Millisecond

func TestFailedConnectsHaveACauseAndAreReported(t *testing.T) {
	for _, tt := range []struct {
		name, address string
		want          cause
	}{
		{"refused", proxytest.Refused(t), causeConnectRefused},
		{"no unix socket", "unix:" + t.TempDir() + "/none.sock", causeConnectRefused},
		{"unanswered", proxytest.Unanswered(t), causeConnectTimeout},
		{"impossible", "127.0.0.1:no-such-port", causeConnectFailed},
	} {
		for _, protocol := range []Protocol{HTTP1, H2C} {
			t.Run(tt.name+" "+string(protocol), func(t *testing.T) {
				s := testService(tt.address)
				s.ConnectTimeout, s.Protocol = soon, protocol
				var reported []error
				rt := newTransport(s, "blue", func(service, slot string, err error) {
					if service != "backend" || slot != "blue" {
						t.Errorf("reported for %s %s", service, slot)
					}
					reported = append(reported, err)
				})
				defer rt.Retire()
				body := strings.NewReader("body")
				_, err := rt.RoundTrip(newRequest(t, "POST", body))
				if causeOf(err) != tt.want {
					t.Errorf("cause %q of %v, want %q", causeOf(err), err, tt.want)
				}
				if len(reported) != 1 || causeOf(reported[0]) != tt.want {
					t.Errorf("reported %v", reported)
				}
				if body.Len() != 4 {
					t.Error("the body was read, so it cannot go elsewhere")
				}
			})
		}
	}
}

func TestSlotFaultsHaveTheirCause(t *testing.T) {
	hang := func(*proxytest.Conn) {}
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
	for _, tt := range []struct {
		name   string
		answer func(*proxytest.Conn)
		end    func(*proxytest.Conn)
		want   cause
	}{
		{"silent", hang, (*proxytest.Conn).Hang, causeHeaderTimeout},
		{"half a head", func(c *proxytest.Conn) { c.Say("HTTP/1.1 200 OK\r\nA: b") }, (*proxytest.Conn).Hang, causeHeaderTimeout},
		{"hints for ever", func(c *proxytest.Conn) { c.Say("HTTP/1.1 103 Early Hints\r\n\r\n") }, (*proxytest.Conn).Hang, causeHeaderTimeout},
		{"closed", hang, hang, causeClosed},
		{"closed in the head", func(c *proxytest.Conn) { c.Say("HTTP/1.1 200 OK\r\nA: b") }, hang, causeClosed},
		{"reset", hang, (*proxytest.Conn).Reset, causeReset},
		{"stalled in the body", func(c *proxytest.Conn) { c.Say(head + "x") }, (*proxytest.Conn).Hang, causeStalled},
		{"stalled before the body", func(c *proxytest.Conn) { c.Say(head) }, (*proxytest.Conn).Hang, causeStalled},
		{"not HTTP", func(c *proxytest.Conn) { c.Say("SSH-2.0-OpenSSH\r\n\r\n") }, (*proxytest.Conn).Hang, causeProtocol},
		{"another HTTP", func(c *proxytest.Conn) { c.Say("HTTP/2.0 200 OK\r\n\r\n") }, (*proxytest.Conn).Hang, causeProtocol},
		{"no status", func(c *proxytest.Conn) { c.Say("HTTP/1.1 abc OK\r\n\r\n") }, (*proxytest.Conn).Hang, causeProtocol},
		{"a status below 100", func(c *proxytest.Conn) { c.Say("HTTP/1.1 099 No\r\n\r\n") }, (*proxytest.Conn).Hang, causeProtocol},
		{"two lengths", func(c *proxytest.Conn) {
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok")
		}, (*proxytest.Conn).Hang, causeProtocol},
		{"a bad length", func(c *proxytest.Conn) { c.Say("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok") }, (*proxytest.Conn).Hang, causeProtocol},
		{"an unknown coding", func(c *proxytest.Conn) { c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok") }, (*proxytest.Conn).Hang, causeProtocol},
		{"a bad chunk", func(c *proxytest.Conn) {
			c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n")
		}, (*proxytest.Conn).Hang, causeProtocol},
		{"an unasked 101", func(c *proxytest.Conn) { c.Say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") }, (*proxytest.Conn).Hang, causeProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Request()
				tt.answer(c)
				tt.end(c)
			})
			rt := testTransport(t, slot.Addr(), func(s *Service) { s.ResponseHeaderTimeout, s.StreamIdleTimeout = soon, soon })
			res, err := rt.RoundTrip(newRequest(t, "POST", strings.NewReader("x")))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if causeOf(err) != tt.want {
				t.Errorf("cause %q of %v, want %q", causeOf(err), err, tt.want)
			}
			if idleCount(rt) != 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

func TestEndlessHeadsAreBounded(t *testing.T) {
	for name, line := range map[string]string{
		"many lines":   "X-A: " + strings.Repeat("a", 1000) + "\r\n",
		"one line":     strings.Repeat("a", 1000),
		"many 1xx":     "HTTP/1.1 103 Early Hints\r\n\r\n",
		"many large":   "HTTP/1.1 103 Early Hints\r\nX-A: " + strings.Repeat("a", 100<<10) + "\r\n\r\n",
		"empty fields": "A:\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Request()
				if !strings.HasPrefix(line, "HTTP") {
					c.Say("HTTP/1.1 200 OK\r\n")
				}
				for piece := strings.Repeat(line, 1+(64<<10)/len(line)); ; {
					if _, err := io.WriteString(c.Conn, piece); err != nil {
						return
					}
				}
			})
			_, err := testTransport(t, slot.Addr()).RoundTrip(newRequest(t, "GET", nil))
			if causeOf(err) != causeProtocol {
				t.Errorf("cause %q of %v, want %q", causeOf(err), err, causeProtocol)
			}
		})
	}
}

// A slot may answer before it has taken the body, and close or reset its side.
// Its answer must arrive all the same, and the client's body be let go.
func TestAnswersThatComeEarlyArrive(t *testing.T) {
	const answer = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig"
	for _, tt := range []struct {
		name string
		end  func(*proxytest.Conn)
	}{
		{"and the slot waits", (*proxytest.Conn).Hang},
		{"and the slot closes, which resets", func(*proxytest.Conn) {}},
		{"and the slot closes its half", func(c *proxytest.Conn) { c.CloseWrite(); c.Hang() }},
	} {
		for name, size := range map[string]int64{"small": 1000, "large": 8 << 20, "unknown": -1} {
			t.Run(tt.name+", "+name, func(t *testing.T) {
				slot := proxytest.Start(t, func(c *proxytest.Conn) {
					c.Head()
					c.Say(answer)
					tt.end(c)
				})
				body := newEndless()
				req := newRequest(t, "POST", body)
				req.ContentLength = size
				rt := testTransport(t, slot.Addr())
				res, got := roundTrip(t, rt, req)
				if res.StatusCode != 413 || got != "big" {
					t.Errorf("%d %q", res.StatusCode, got)
				}
				if idleCount(rt) != 0 {
					t.Error("the connection was kept, with half a request in it")
				}
				if !body.isClosed() {
					t.Error("the client's body was not closed")
				}
			})
		}
	}
}

// A small body that comes in pieces may find the slot gone before its last.
func TestAnEarlyAnswerToASmallBodyArrivesAfterAFailedWrite(t *testing.T) {
	gone := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		io.ReadFull(c, make([]byte, 1)) //nolint:errcheck // the answer tells
		c.Say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
		c.Close()
		close(gone)
	})
	body, client := io.Pipe()
	req := newRequest(t, "POST", body)
	req.ContentLength = 10
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		io.WriteString(client, "0") //nolint:errcheck // the answer tells
		<-gone
		for range 9 {
			if _, err := io.WriteString(client, "x"); err != nil {
				return
			}
		}
	}()
	if res, got := roundTrip(t, testTransport(t, slot.Addr()), req); res.StatusCode != 403 || got != "no" {
		t.Errorf("%d %q", res.StatusCode, got)
	}
	<-wrote
}

// endless is a body that gives bytes, and after some waits to be closed.
type endless struct {
	given  int
	closed chan struct{}
}

func newEndless() *endless { return &endless{closed: make(chan struct{})} }

func (e *endless) Read(b []byte) (int, error) {
	if e.given > 6<<20 {
		<-e.closed
		return 0, errors.New("closed")
	}
	e.given += len(b)
	return len(b), nil
}

func (e *endless) Close() error {
	if !e.isClosed() {
		close(e.closed)
	}
	return nil
}

func (e *endless) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// A client that stops sending gets the early answer without more of its body.
func TestEarlyAnswersDoNotWaitForTheClient(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Answer("no")
		c.Hang()
	})
	body, client := io.Pipe()
	defer client.Close()
	rt := testTransport(t, slot.Addr())
	if _, got := roundTrip(t, rt, newRequest(t, "POST", body)); got != "no" {
		t.Errorf("body %q", got)
	}
}

func TestFaultsOfTheClientsBodyAreTheClients(t *testing.T) {
	fault := errors.New("malformed chunk")
	for _, tt := range []struct {
		name   string
		body   io.Reader
		length int64
	}{
		{"small", io.MultiReader(strings.NewReader("abc"), failing{fault}), 10},
		{"large", io.MultiReader(strings.NewReader("abc"), failing{fault}), 1 << 20},
		{"unknown", io.MultiReader(strings.NewReader("abc"), failing{fault}), -1},
		{"too short, small", strings.NewReader("abc"), 10},
		{"too short, large", strings.NewReader("abc"), 1 << 20},
	} {
		for _, protocol := range []Protocol{HTTP1, H2C} {
			t.Run(tt.name+" "+string(protocol), func(t *testing.T) {
				slot := startSink(t)
				s := testService(slot)
				s.Protocol = protocol
				rt := newTransport(s, "blue", nil)
				defer rt.Retire()
				data, _ := io.ReadAll(io.LimitReader(tt.body, 3))
				req := newRequest(t, "POST", struct{ io.Reader }{io.MultiReader(bytes.NewReader(data), tt.body)})
				req.ContentLength = tt.length
				res, err := rt.RoundTrip(req)
				if err == nil {
					_, err = io.ReadAll(res.Body)
					res.Body.Close()
				}
				var client *clientBodyError
				if !errors.As(err, &client) || causeOf(err) != "" {
					t.Errorf("error %v, want the client's", err)
				}
			})
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestTheContextEndsEverything(t *testing.T) {
	why := errors.New("the client left")
	head := "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
	for _, tt := range []struct {
		name string
		say  string
		body io.Reader
	}{
		{"waiting for the answer", "", nil},
		{"within the head", head[:20], nil},
		{"within the body", head + "x", nil},
		{"while the client sends", "", newEndless()},
		{"while the client sends and the answer flows", head + "x", newEndless()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			there := make(chan struct{})
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say(tt.say)
				close(there)
				c.Hang()
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			req, err := http.NewRequestWithContext(ctx, "POST", "http://slot.example/", tt.body)
			if err != nil {
				t.Fatal(err)
			}
			go func() { <-there; cancel(why) }()
			res, err := testTransport(t, slot.Addr()).RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
			}
			if err != why {
				t.Errorf("error %v, want the context's cause", err)
			}
		})
	}
}

func TestTheContextEndsTheWaitForASmallBody(t *testing.T) {
	there := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		close(there)
		c.Hang()
	})
	why := errors.New("the proxy stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	body, client := io.Pipe()
	req := newRequest(t, "POST", body).WithContext(ctx)
	req.ContentLength = 10
	go func() {
		io.WriteString(client, "x") //nolint:errcheck // the slot tells
		<-there
		cancel(why)
	}()
	if _, err := testTransport(t, slot.Addr()).RoundTrip(req); err != why {
		t.Errorf("error %v, want the context's cause", err)
	}
}

func TestAnEndedContextConnectsNowhere(t *testing.T) {
	slot := proxytest.Start(t, proxytest.KeepAlive("ok"))
	why := errors.New("left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	req := newRequest(t, "GET", nil).WithContext(ctx)
	if _, err := testTransport(t, slot.Addr()).RoundTrip(req); err != why || slot.Accepted() != 0 {
		t.Errorf("error %v after %d connections", err, slot.Accepted())
	}
}

func TestALeavingClientEndsTheConnect(t *testing.T) {
	why := errors.New("left")
	ctx, cancel := context.WithCancelCause(t.Context())
	address := proxytest.Unanswered(t)
	s := testService(address)
	rt := newTransport(s, "blue", func(_, _ string, err error) { t.Errorf("reported against the slot: %v", err) })
	defer rt.Retire()
	time.AfterFunc(soon, func() { cancel(why) })
	if _, err := rt.RoundTrip(newRequest(t, "GET", nil).WithContext(ctx)); err != why {
		t.Errorf("error %v, want the context's cause", err)
	}
}
