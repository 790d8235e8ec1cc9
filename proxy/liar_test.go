package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// liars are slots that break HTTP, each in one way. What a client may see of it
// is an error of ours or an answer that visibly breaks off.
func liars() map[string]func(*proxytest.Conn) {
	say := func(s string) func(*proxytest.Conn) { return func(c *proxytest.Conn) { c.Say(s) } }
	const ok = "HTTP/1.1 200 OK\r\n"
	all := map[string]func(*proxytest.Conn){
		"says nothing":                   func(*proxytest.Conn) {},
		"speaks garbage":                 say("\x16\x03\x01\x02\x00garbage"),
		"speaks SSH":                     say("SSH-2.0-OpenSSH_9.2\r\n"),
		"speaks HTTP/2":                  say("\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
		"speaks HTTP/0.9":                say("<html>hello</html>"),
		"ends within its head":           say(ok + "Content-Length: 5\r\n"),
		"ends within its status line":    say("HTTP/1.1 2"),
		"says too little":                say(ok + "Content-Length: 100\r\n\r\nshort"),
		"says two lengths":               say(ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
		"says a list of lengths":         say(ok + "Content-Length: 5, 6\r\n\r\nhello!"),
		"says a signed length":           say(ok + "Content-Length: +5\r\n\r\nhello"),
		"says a negative length":         say(ok + "Content-Length: -5\r\n\r\nhello"),
		"says a length beyond numbers":   say(ok + "Content-Length: 99999999999999999999\r\n\r\nhello"),
		"says an unknown coding":         say(ok + "Transfer-Encoding: gzip\r\n\r\nhello"),
		"says a coding after chunked":    say(ok + "Transfer-Encoding: chunked, gzip\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
		"ends within a chunk":            say(ok + "Transfer-Encoding: chunked\r\n\r\n50\r\nhello"),
		"ends between chunks":            say(ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
		"ends within the last chunk":     say(ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
		"sends a chunk without a size":   say(ok + "Transfer-Encoding: chunked\r\n\r\nhello\r\n0\r\n\r\n"),
		"sends a chunk of a signed size": say(ok + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n"),
		"sends a chunk that is too long": say(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
		"sends a chunk of endless size":  say(ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello"),
		"splits by a bare CR":            say(ok + "X: a\rSet-Cookie: stolen\r\nContent-Length: 0\r\n\r\n"),
		"sends NUL in a field":           say(ok + "X: a\x00b\r\nContent-Length: 0\r\n\r\n"),
		"sends a field without a name":   say(ok + ": x\r\nContent-Length: 0\r\n\r\n"),
		"sends a line without a colon":   say(ok + "hello\r\nContent-Length: 0\r\n\r\n"),
		"answers 101 to nobody's wish":   say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
		"answers 99":                     say("HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"),
		"answers 1000":                   say("HTTP/1.1 1000 Odd\r\nContent-Length: 0\r\n\r\n"),
		"informs without end":            flood("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
		"continues without end":          flood("HTTP/1.1 100 Continue\r\n\r\n"),
		"sends a head without end":       func(c *proxytest.Conn) { c.Say(ok); flood("X: " + strings.Repeat("y", 1000) + "\r\n")(c) },
		"sends a line without end":       func(c *proxytest.Conn) { c.Say(ok + "X: "); flood(strings.Repeat("y", 1000))(c) },
		"sends trailers without end": func(c *proxytest.Conn) {
			c.Say(ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")
			flood("X: " + strings.Repeat("y", 1000) + "\r\n")(c)
		},
		"sends a chunk's extension without end": func(c *proxytest.Conn) {
			c.Say(ok + "Transfer-Encoding: chunked\r\n\r\n5;")
			flood(strings.Repeat("y", 1000))(c)
		},
		"resets before its answer":  func(c *proxytest.Conn) { c.Reset() },
		"resets within its answer":  func(c *proxytest.Conn) { c.Say(ok + "Content-Length: 100\r\n\r\nshort"); c.Reset() },
		"stops within its answer":   func(c *proxytest.Conn) { c.Say(ok + "Content-Length: 100\r\n\r\nshort"); io.Copy(io.Discard, c) }, //nolint:errcheck // it waits for the end
		"stops within its head":     func(c *proxytest.Conn) { c.Say(ok + "Content-Le"); io.Copy(io.Discard, c) },                       //nolint:errcheck // it waits for the end
		"stops before it began":     func(c *proxytest.Conn) { io.Copy(io.Discard, c) },                                                 //nolint:errcheck // it waits for the end
		"resets between two chunks": func(c *proxytest.Conn) { c.Say(ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"); c.Reset() },
	}
	return all
}

// flood repeats something for as long as it is taken, but not for ever.
func flood(s string) func(*proxytest.Conn) {
	s = strings.Repeat(s, max(1, 64<<10/len(s)))
	return func(c *proxytest.Conn) {
		for range 1000 {
			if _, err := c.Write([]byte(s)); err != nil {
				return
			}
		}
	}
}

// TestASlotThatLiesNeverGetsAWrongAnswerThrough asks every liar, over each kind of
// connection that clients have.
func TestASlotThatLiesNeverGetsAWrongAnswerThrough(t *testing.T) {
	for name, lie := range liars() {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				if c.Head() != "" {
					lie(c)
				}
			})
			f := startFront(t, slot.Addr(), func(o *frontOptions) {
				o.service.ResponseHeaderTimeout, o.service.StreamIdleTimeout = time.Second, time.Second
			})
			for _, http2 := range []bool{false, true} {
				for _, method := range []string{"GET", "POST"} {
					askLiar(t, f, newClient(t, http2), method)
				}
			}
			f.await("no request to be under way", func() bool { return f.stats().InFlight == 0 })
			if f.stats().Faults == 0 {
				t.Error("it does not count against the slot")
			}
		})
	}
}

func askLiar(t *testing.T, f *front, client *http.Client, method string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+f.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		return // it broke off before there was anything to pass on
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if res.StatusCode >= 500 {
		if cause := res.Header.Get(errorCauseField); err != nil || !strings.HasPrefix(cause, "slot-") {
			t.Errorf("%s: %s, cause %q, %v", method, res.Status, cause, err)
		}
		return
	}
	if err == nil || len(res.Cookies()) > 0 {
		t.Errorf("%s: a whole answer: %s %v %q", method, res.Status, res.Header, body)
	}
}

// What a slot sends behind its answer is no answer to anybody else.
func TestAnAnswerThatNobodyAskedForReachesNobody(t *testing.T) {
	for _, behind := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen",
		"stolen",
		"\r\n",
	} {
		var asked atomic.Int64
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			for c.Head() != "" {
				asked.Add(1)
				c.Say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine" + behind)
			}
		})
		f := startFront(t, slot.Addr())
		for range 20 {
			if body := f.dial().get("/"); body != "mine" {
				t.Errorf("behind %q: %q", behind, body)
			}
		}
		if asked.Load() != 20 {
			t.Errorf("the slot was asked %d times", asked.Load())
		}
	}
}
