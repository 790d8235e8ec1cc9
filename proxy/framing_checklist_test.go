package proxy

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"charactier-proxy/proxy/proxytest"
)

// A message whose end or whose fields could be read in two ways must not reach
// the slot in either: what follows it would be a request to one reader and a
// body to another.
func TestAmbiguousMessagesNeverReachTheSlot(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr())
	const post, get = "POST / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\r\n"
	for name, request := range map[string]string{
		"a signed length":             post + "Content-Length: +5\r\n\r\nhello",
		"a negative length":           post + "Content-Length: -1\r\n\r\n",
		"a hexadecimal length":        post + "Content-Length: 0x5\r\n\r\nhello",
		"a list of lengths":           post + "Content-Length: 5, 5\r\n\r\nhello",
		"two lengths in one":          post + "Content-Length: 5 5\r\n\r\nhello",
		"an empty length":             post + "Content-Length:\r\n\r\nhello",
		"a length beyond all numbers": post + "Content-Length: 99999999999999999999\r\n\r\nhello",
		"a space after its name":      post + "Content-Length : 5\r\n\r\nhello",
		"a coding like chunked":       post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"chunked twice":               post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"chunked in two lines":        post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"identity after chunked":      post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"an empty coding":             post + "Transfer-Encoding:\r\n\r\n0\r\n\r\n",
		"a control before chunked":    post + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"a field before its line":     "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
		"a field without a name":      get + ": y\r\n\r\n",
		"a field without a colon":     get + "X\r\n\r\n",
		"a name that is no token":     get + "X(y): z\r\n\r\n",
		"NUL in a value":              get + "X: a\x00b\r\n\r\n",
		"a bare CR in a value":        get + "X: a\rGET /b HTTP/1.1\r\n\r\n",
		"two spaces":                  "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a space at the end":          "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
		"a space in the target":       "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"a tab for a space":           "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"a control in the target":     "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
		"HTTP/0.9":                    "GET /\r\n\r\n",
		"HTTP/0.9 that says so":       "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
		"HTTP/2 in text":              "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
		"a version in lower case":     "GET / http/1.1\r\nHost: a\r\n\r\n",
		"a version of two digits":     "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
		"a host with a path":          "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"a host with a space":         "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"a host with a user":          "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := f.dial()
			c.say(request + "GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
			res, _ := c.whole("POST")
			if res.StatusCode < 400 || !res.Close {
				t.Errorf("%s, close %v", res.Status, res.Close)
			}
			c.ended()
			if slot.Accepted() != 0 {
				t.Error("the slot saw it, or what followed it")
			}
		})
	}
}

// The framing to the slot is our own: what we take, it gets in one form, however
// it was said.
func TestTheSlotGetsOneFramingHoweverItWasSaid(t *testing.T) {
	for name, tt := range map[string]struct{ head, body, want string }{
		"the same length twice":  {"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "hello", "Content-Length: 5"},
		"a length with zeros":    {"Content-Length: 0005\r\n\r\n", "hello", "Content-Length: 5"},
		"CHUNKED":                {"Transfer-Encoding: CHUNKED\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"},
		"chunks with extensions": {"Transfer-Encoding: chunked\r\n\r\n", "005;a=\"b;\"\r\nhello\r\n000\r\n\r\n", "Transfer-Encoding: chunked"},
		"lines that end in LF":   {"Transfer-Encoding: chunked\nX: y\n\n", "5\r\nhello\r\n0\r\n\r\n", "Transfer-Encoding: chunked"},
		"fields that are folded": {"X: a\r\n\tb\r\nContent-Length: 5\r\n\r\n", "hello", "Content-Length: 5"},
		"a trailer with a space": {"Transfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\nX : y\r\n\r\n", "Transfer-Encoding: chunked"},
	} {
		t.Run(name, func(t *testing.T) {
			heads, bodies := make(chan string, 1), make(chan string, 1)
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				heads <- c.Head()
				bodies <- readFramed(c, tt.want)
				c.Answer("ok")
			})
			c := startFront(t, slot.Addr()).dial()
			c.say("POST / HTTP/1.1\r\nHost: a\r\n" + tt.head + tt.body)
			if res, _ := c.whole("POST"); res.StatusCode != 200 {
				t.Fatal(res.Status)
			}
			head := <-heads
			framings := slices.DeleteFunc(strings.Split(head, "\r\n"), func(line string) bool {
				return !strings.HasPrefix(line, "Content-Length") && !strings.HasPrefix(line, "Transfer-Encoding")
			})
			if !slices.Equal(framings, []string{tt.want}) || strings.Contains(strings.ReplaceAll(head, "\r\n", ""), "\n") {
				t.Errorf("framed by %q in\n%q", framings, head)
			}
			want := "hello"
			if tt.want == "Transfer-Encoding: chunked" {
				want = "5\r\nhello\r\n0\r\n\r\n"
			}
			if got := <-bodies; got != want {
				t.Errorf("the slot got %q, want %q", got, want)
			}
		})
	}
}

// readFramed reads a body of five bytes as it is on the wire.
func readFramed(c *proxytest.Conn, framing string) string {
	if strings.HasPrefix(framing, "Content-Length") {
		b := make([]byte, 5)
		io.ReadFull(c, b) //nolint:errcheck // the bytes tell
		return string(b)
	}
	var b strings.Builder
	for one := iotest.OneByteReader(c); !strings.HasSuffix(b.String(), "\r\n\r\n"); {
		if _, err := io.CopyN(&b, one, 1); err != nil {
			break
		}
	}
	return b.String()
}

// RFC 9112, section 9.3.2: answers come in the order of the requests.
func TestRequestsThatComeTogetherAreAnsweredInOrder(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path+" ") //nolint:errcheck // the client tells
		io.Copy(w, r.Body)                //nolint:errcheck // the client tells
	})
	c := startFront(t, slot).dial()
	c.say("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none" +
		"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n" +
		"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n" +
		"GET /4 HTTP/1.1\r\nHost: a\r\n\r\n")
	c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the answers tell
	for _, want := range []string{"/1 one", "/2 ", "/3 three", "/4 "} {
		if res, body := c.whole("GET"); res.StatusCode != 200 || body != want {
			t.Errorf("%s %q, want %q", res.Status, body, want)
		}
	}
	c.ended()
}

// A field's spelling of a host is the slot's to judge: it may be part of what a
// signature covers.
func TestHostArrivesAsItWasSpelled(t *testing.T) {
	slot, head := recordHeads(t)
	f := startFront(t, slot.Addr())
	for _, host := range []string{"a.example:8080", "Shop.Example.COM.", "[::1]:5080", "xn--bcher-kva.example"} {
		c := f.dial()
		c.say("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		c.whole("GET")
		if got := fields(t, head()).Get("Host"); got != host {
			t.Errorf("the slot saw %q, want %q", got, host)
		}
	}
}

// A client of HTTP/1.0 knows no chunks: it gets the body as it is, up to the end
// of the connection, or keeps the connection where the length is known.
func TestAClientOfHTTP10GetsABodyItCanRead(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for head := c.Head(); head != ""; head = c.Head() {
			if strings.Contains(head, "/sized") {
				c.Answer("sized")
				continue
			}
			c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nchu\r\n3\r\nnks\r\n0\r\n\r\n")
		}
	})
	c := startFront(t, slot.Addr()).dial()
	for _, path := range []string{"/sized", "/sized", "/chunks"} {
		c.say("GET " + path + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		res, body := c.whole("GET")
		if res.Proto != "HTTP/1.0" && res.Proto != "HTTP/1.1" || len(res.TransferEncoding) > 0 || body != path[1:] {
			t.Errorf("%s: %s %v %q", path, res.Proto, res.TransferEncoding, body)
		}
	}
	c.ended()
}
