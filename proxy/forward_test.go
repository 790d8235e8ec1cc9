package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
)

func TestAnOrdinaryRequestIsAnswered(t *testing.T) {
	f := startFront(t, proxytest.Start(t, proxytest.KeepAlive("hello")).Addr())
	c := f.dial()
	for range 3 {
		if got := c.get("/"); got != "hello" {
			t.Fatalf("body %q", got)
		}
	}
	f.await("three requests to be counted", func() bool { return f.stats().Requests[2] == 3 })
}

// Trap: ReverseProxy drops parameters it takes for malformed, and net/url
// respells paths.
func TestPathAndQueryArriveAsTheyWereSpelled(t *testing.T) {
	slot, head := recordHeads(t)
	f := startFront(t, slot.Addr())
	many := "/?" + strings.Repeat("a=b&", 10_001) + "z"
	for _, target := range []string{
		"/", "/?", "/?a=1;b=2", "/?q=%zz&x=%", "/a%2Fb/%3a%3A", "//double//slash", "//host.example/x?y",
		"/sp%20ace/\"quote\"<>[]{}|\\^`", "/caf\xc3\xa9?\xff", "/a/../b/./c", "/*", "/?a?b=c", many,
	} {
		f.dial().get(target)
		line, _, _ := strings.Cut(head(), "\r\n")
		if want := "GET " + target + " HTTP/1.1"; line != want {
			t.Errorf("the slot saw %.80q, want %.80q", line, want)
		}
	}
}

// Trap 11, golang/go#16036: an answer is neither compressed nor unpacked.
func TestAnAnswersCodingIsLeftAlone(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "not really gzip") //nolint:errcheck // the client tells
	})
	if got := startFront(t, slot).dial().get("/"); got != "not really gzip" {
		t.Errorf("body %q", got)
	}
}

// golang/go#15527, #40747, #57786: net/http reads the whole body before it lets
// an answer go, unless it is told not to.
func TestAnEarlyAnswerArrivesDuringTheUpload(t *testing.T) {
	for _, status := range []string{"401 Unauthorized", "413 Content Too Large"} {
		t.Run(status, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say("HTTP/1.1 " + status + "\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
			})
			f := startFront(t, slot.Addr())
			c := f.dial()
			c.say("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000000\r\n\r\n" + strings.Repeat("x", 100_000))
			res, body := c.whole("POST")
			if got := status[:3]; got != strconv.Itoa(res.StatusCode) || body != "no" {
				t.Fatalf("%s %q", res.Status, body)
			}
			if !res.Close {
				t.Error("the client is not told that the connection ends")
			}
			if e := f.entry(1); e["cause"] != nil {
				t.Errorf("a cause: %v", e["cause"])
			}
		})
	}
}

// RFC 9112, section 9.6: a client that writes on when the answer is out must
// still be able to read it.
func TestAClientThatFirstWritesEverythingStillReadsAnEarlyAnswer(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
	})
	const size = 20 << 20
	c := startFront(t, slot.Addr()).dial()
	c.say(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n", size))
	piece := strings.Repeat("x", 1<<20)
	for range size / len(piece) {
		c.say(piece)
	}
	if res, _ := c.whole("POST"); res.StatusCode != 413 {
		t.Errorf("%s", res.Status)
	}
}

// golang/go#68560: full duplex, the slot fails, and what is left of the body
// ends while net/http throws it away: it then read the next request twice at
// once and panicked.
func TestAFailureBeforeTheBodyWasReadDoesNotPanic(t *testing.T) {
	f := startFront(t, proxytest.Refused(t))
	for _, framing := range []string{"Content-Length: 5\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"} {
		c := f.dial()
		c.say("POST / HTTP/1.1\r\nHost: a.example\r\n" + framing)
		res, _ := c.whole("POST")
		if res.StatusCode != 502 || !res.Close {
			t.Fatalf("%s, close %v", res.Status, res.Close)
		}
		if strings.HasPrefix(framing, "C") {
			c.say("hello")
		} else {
			c.say("5\r\nhello\r\n0\r\n\r\n")
		}
		c.ended()
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if n := f.loud.Len(); n != 0 {
		t.Errorf("logged: %v", f.loud.All())
	}
}

// Trap 8, golang/go#53808: the client waits for leave to send, and gets its
// refusal instead.
func TestABodyTooLargeIsRefusedBeforeContinue(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.MaxBodyBytes = 10 })
	c := f.dial()
	c.say("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
	res, _ := c.whole("POST")
	if res.StatusCode != 413 || res.Header.Get(errorCauseField) != string(causeBodyTooLarge) {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	if slot.Accepted() != 0 {
		t.Error("the slot was asked")
	}
}

func TestTheSlotDecidesWhetherABodyIsSent(t *testing.T) {
	asked := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		if head := c.Head(); !strings.Contains(head, "100-continue") {
			t.Errorf("the slot saw no expectation:\n%s", head)
		}
		<-asked
		c.Say("HTTP/1.1 100 Continue\r\n\r\n")
		b := make([]byte, 5)
		io.ReadFull(c, b) //nolint:errcheck // the answer tells
		c.Answer(string(b))
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) //nolint:errcheck // the read tells
	if _, err := c.r.Peek(1); !isTimeout(err) {
		t.Fatalf("something came before the slot had asked: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // the read tells
	close(asked)
	if got := c.lines(); got != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("got %q", got)
	}
	c.say("hello")
	if _, body := c.whole("POST"); body != "hello" {
		t.Errorf("body %q", body)
	}
}

func TestASlotThatAnswersInsteadOfContinueNeverGetsTheBody(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
		if !c.Gone() {
			t.Error("the slot got a byte of the body")
		}
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if res, _ := c.whole("POST"); res.StatusCode != 401 {
		t.Errorf("%s", res.Status)
	}
	c.ended()
}

// Trap 4, golang/go#65123, #67940, #81319.
func TestEarlyHintsKeepTheirFieldsToThemselves(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\n")
		c.Say("HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n")
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Final: 1\r\n\r\nok")
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	if got, want := c.lines(), "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := c.lines(), "HTTP/1.1 103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	res, _ := c.whole("GET")
	if res.Header.Get("Link") != "" || res.Header.Get("X-Final") != "1" {
		t.Errorf("the final answer's fields: %v", res.Header)
	}
}

func TestAClientOfHTTP10GetsNoInformationalAnswer(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.0\r\n\r\n")
	if got := c.lines(); !strings.HasPrefix(got, "HTTP/1.0 200 OK\r\n") {
		t.Errorf("got %q", got)
	}
}

// Trap 12.
func TestTrailersPassInBothDirections(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the trailers tell
		w.Header().Set("Trailer", "X-Announced")
		io.WriteString(w, "body") //nolint:errcheck // the client tells
		w.Header().Set("X-Announced", r.Trailer.Get("X-Sum"))
		w.Header().Set(http.TrailerPrefix+"X-Late", r.Trailer.Get("X-Unannounced"))
		w.Header().Set(http.TrailerPrefix+"X-Lie", r.Trailer.Get("X-Forwarded-For"))
	})
	c := startFront(t, slot).dial()
	c.say("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" +
		"5\r\nhello\r\n0\r\nX-Sum: 42\r\nX-Unannounced: 43\r\nX-Forwarded-For: 6.6.6.6\r\nContent-Length: 7\r\n\r\n")
	res, body := c.whole("POST")
	want := http.Header{"X-Announced": {"42"}, "X-Late": {"43"}, "X-Lie": {""}}
	if diff := cmp.Diff(want, res.Trailer); diff != "" || body != "body" {
		t.Errorf("body %q, trailers (-want +got):\n%s", body, diff)
	}
	c.get("/") // on the same connection
}

func TestAnswersWithoutABodyStayWithoutOne(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for {
			head := c.Head()
			switch {
			case head == "":
				return
			case strings.HasPrefix(head, "HEAD"):
				c.Say("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
			case strings.Contains(head, "/304"):
				c.Say("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n")
			default:
				c.Say("HTTP/1.1 204 No Content\r\n\r\n")
			}
		}
	})
	c := startFront(t, slot.Addr()).dial()
	for range 2 {
		c.say("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n")
		if res := c.answer("HEAD"); res.ContentLength != 1234 || res.StatusCode != 200 {
			t.Errorf("HEAD: %s, length %d", res.Status, res.ContentLength)
		}
		c.say("GET /304 HTTP/1.1\r\nHost: a.example\r\n\r\n")
		if res, _ := c.whole("GET"); res.StatusCode != 304 || res.Header.Get("Etag") != `"x"` {
			t.Errorf("%s %v", res.Status, res.Header)
		}
		c.say("GET /204 HTTP/1.1\r\nHost: a.example\r\n\r\n")
		if res, _ := c.whole("GET"); res.StatusCode != 204 || len(res.TransferEncoding) > 0 {
			t.Errorf("%s %v", res.Status, res.TransferEncoding)
		}
	}
	if slot.Accepted() != 1 {
		t.Errorf("%d connections to the slot", slot.Accepted())
	}
}

// Trap 6, golang/go#23643, #28239: a client must see that an answer broke off.
func TestAnAnswerThatBreaksOffNeverEndsCleanly(t *testing.T) {
	for _, tt := range []struct{ name, head, tail, request string }{
		{"of known length", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"in chunks to HTTP/1.0", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", "\r\n", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say(tt.head + "short" + tt.tail)
			})
			f := startFront(t, slot.Addr())
			c := f.dial()
			c.say(tt.request)
			res := c.answer("GET")
			if b, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("a clean end after %q", b)
			}
			e := f.entry(1)
			if e["cause"] != string(causeClosed) || e["caused_by"] != "slot" || e["aborted"] != true || e["status"] != int64(200) {
				t.Errorf("access log: %v", e)
			}
			if f.stats().Faults != 1 {
				t.Errorf("%d faults of the slot", f.stats().Faults)
			}
		})
	}
}

// Trap 7, golang/go#20071.
func TestAClientThatLeavesIsNotTheSlotsFault(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		close(arrived)
		c.Gone()
		close(gone)
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.HalfCloseGrace = time.Millisecond })
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	<-arrived
	c.Close()
	<-gone // the slot is told
	e := f.entry(1)
	if e["status"] != int64(499) || e["caused_by"] != "client" {
		t.Errorf("access log: %v", e)
	}
	if s := f.stats(); s.Faults != 0 || s.InFlight != 0 {
		t.Errorf("faults %d, in flight %d", s.Faults, s.InFlight)
	}
}

// ReverseProxy answers these 502.
func TestAMalformedBodyIsTheClientsFault(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client tells
	})
	for name, body := range map[string]string{
		"a chunk without a length": "Transfer-Encoding: chunked\r\n\r\nhello\r\n",
		"a chunk that lies":        "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
		"an endless length":        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, slot)
			c := f.dial()
			c.say("POST / HTTP/1.1\r\nHost: a.example\r\n" + body)
			res, _ := c.whole("POST")
			if res.StatusCode != 400 || res.Header.Get(errorCauseField) != string(causeBodyMalformed) || !res.Close {
				t.Errorf("%s %v", res.Status, res.Header)
			}
			c.ended()
			if f.stats().Faults != 0 {
				t.Error("it counts against the slot")
			}
		})
	}
}

func TestABodyThatEndsTooEarlyIsTheClientsFault(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client tells
	})
	for name, rest := range map[string]string{
		"of known length": "Content-Length: 100\r\n\r\nshort", "in chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, slot)
			c := f.dial()
			c.say("POST / HTTP/1.1\r\nHost: a.example\r\n" + rest)
			c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the answer tells
			if res, _ := c.whole("POST"); res.StatusCode != 400 {
				t.Errorf("%s", res.Status)
			}
			if f.entry(1); f.stats().Faults != 0 {
				t.Error("it counts against the slot")
			}
		})
	}
}

func TestABodyMayBeAsLargeAsTheLimitAndNoLarger(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body) //nolint:errcheck // the length tells
		fmt.Fprint(w, n)
	})
	f := startFront(t, slot, func(o *frontOptions) { o.service.MaxBodyBytes = 5 })
	for _, tt := range []struct {
		body   string
		status int
	}{
		{"Content-Length: 5\r\n\r\nhello", 200},
		{"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200},
		{"Content-Length: 6\r\n\r\nhello!", 413},
		{"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 413},
	} {
		c := f.dial()
		c.say("POST / HTTP/1.1\r\nHost: a.example\r\n" + tt.body)
		if res, body := c.whole("POST"); res.StatusCode != tt.status || tt.status == 200 && body != "5" {
			t.Errorf("%q: %s %q", tt.body, res.Status, body)
		}
	}
	if f.stats().Faults != 0 {
		t.Error("it counts against the slot")
	}
}

// golang/go#35892 and the half of TCP that ReverseProxy answers 502.
func TestAClientThatStopsSendingStillGetsItsAnswer(t *testing.T) {
	half := make(chan struct{})
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		<-half
		w.Write(body)             //nolint:errcheck // the client tells
		io.WriteString(w, "done") //nolint:errcheck // the client tells
	})
	for name, request := range map[string]string{
		"GET":  "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
		"POST": "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\n+",
	} {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, slot)
			c := f.dial()
			c.say(request)
			c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the answer tells
			f.await("the half-close to be seen", func() bool { return f.anyConn((*clientConn).leftHalfClosed) })
			go func() { half <- struct{}{} }()
			if res, body := c.whole("GET"); res.StatusCode != 200 || !strings.HasSuffix(body, "done") {
				t.Errorf("%s %q", res.Status, body)
			}
			c.ended()
		})
	}
}

func TestAResetIsNoticedAtOnceAlsoAfterAHalfClose(t *testing.T) {
	for _, half := range []bool{false, true} {
		arrived, gone := make(chan struct{}), make(chan struct{})
		slot := proxytest.Start(t, func(c *proxytest.Conn) {
			c.Head()
			close(arrived)
			c.Gone()
			close(gone)
		})
		f := startFront(t, slot.Addr()) // whose grace is longer than the test
		c := f.dial()
		c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
		<-arrived
		if half {
			c.Conn.(*net.TCPConn).CloseWrite() //nolint:errcheck // the answer tells
			f.await("the half-close to be seen", func() bool { return f.anyConn((*clientConn).leftHalfClosed) })
		}
		c.Conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // then the close is a plain one and the test fails
		c.Close()
		select {
		case <-gone:
		case <-time.After(patience / 2):
			t.Fatalf("half-closed %v: the slot was not told", half)
		}
		if e := f.entry(1); e["status"] != int64(499) {
			t.Errorf("access log: %v", e)
		}
	}
}

func TestAnEventStreamIsFlushedAtOnceAndCountedAsAStream(t *testing.T) {
	next, end := make(chan string), make(chan struct{})
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		w.(http.Flusher).Flush()
		for event := range next {
			io.WriteString(w, event) //nolint:errcheck // the client tells
			w.(http.Flusher).Flush()
		}
		<-end
	})
	f := startFront(t, slot)
	c := f.dial()
	c.say("GET /events HTTP/1.1\r\nHost: a.example\r\nAccept: text/event-stream\r\n\r\n")
	res := c.answer("GET") // before the first event
	if s := f.stats(); s.Streams != 1 || s.InFlight != 1 {
		t.Errorf("streams %d, in flight %d", s.Streams, s.InFlight)
	}
	for i := range 3 {
		event := fmt.Sprintf("data: %d\n\n", i)
		next <- event
		b := make([]byte, len(event))
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != event {
			t.Fatalf("%q, %v", b, err)
		}
	}
	close(next)
	close(end)
	f.await("the stream to end", func() bool { s := f.stats(); return s.Streams == 0 && s.InFlight == 0 })
	if e := f.entry(1); e["stream"] != true {
		t.Errorf("access log: %v", e)
	}
}

// P4: an answer of known length passes as it comes, too.
func TestEveryByteOfAnAnswerPassesAsItComes(t *testing.T) {
	step := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
		for _, s := range []string{"a", "b", "c"} {
			<-step
			c.Say(s)
		}
		c.Hang()
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	res := c.answer("GET")
	for _, want := range []string{"a", "b", "c"} {
		step <- struct{}{}
		b := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v", b, err)
		}
	}
}

// golang/go#40747: both directions of one request at once.
func TestARequestAndItsAnswerMayFlowAtOnce(t *testing.T) {
	slot := startHandler(t, echo)
	f := startFront(t, slot)
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2 %v", http2), func(t *testing.T) {
			pr, pw := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+f.addr, pr)
			if err != nil {
				t.Fatal(err)
			}
			go pw.Write([]byte("0")) //nolint:errcheck // the echo tells
			res, err := newClient(t, http2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			readByte(t, res.Body, "0")
			for i := range 5 {
				pw.Write([]byte{byte('a' + i)}) //nolint:errcheck // the echo tells
				readByte(t, res.Body, string(rune('a'+i)))
			}
			pw.Close()
			if b, err := io.ReadAll(res.Body); err != nil || len(b) > 0 {
				t.Errorf("the end: %q, %v", b, err)
			}
		})
	}
}

// echo sends back each piece of the body as it comes.
func echo(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	rc.EnableFullDuplex() //nolint:errcheck // HTTP/2 needs none
	b := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(b)
		w.Write(b[:n]) //nolint:errcheck // the client tells
		rc.Flush()     //nolint:errcheck // the client tells
		if err != nil {
			return
		}
	}
}

func readByte(t *testing.T, r io.Reader, want string) {
	t.Helper()
	b := make([]byte, 1)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b, err, want)
	}
}

func TestLargeBodiesPassUnchanged(t *testing.T) {
	slot := startHandler(t, echo)
	sum := sha256.New()
	const size = 20 << 20
	random := rand.NewChaCha8([32]byte{1})
	f := startFront(t, slot)
	for _, tt := range []struct {
		name   string
		length int64
		http2  bool
	}{{"of known length", size, false}, {"in chunks", -1, false}, {"over HTTP/2", -1, true}} {
		t.Run(tt.name, func(t *testing.T) {
			sum.Reset()
			body := io.TeeReader(io.LimitReader(random, size), sum)
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+f.addr, struct{ io.Reader }{body})
			if err != nil {
				t.Fatal(err)
			}
			req.ContentLength = tt.length
			res, err := newClient(t, tt.http2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			got := sha256.New()
			if n, err := io.Copy(got, res.Body); err != nil || n != size {
				t.Fatalf("%d bytes, %v", n, err)
			}
			if !bytes.Equal(got.Sum(nil), sum.Sum(nil)) {
				t.Error("the bytes are not the same")
			}
		})
	}
}

func TestATrickledBodyArrivesWholeAndIsNeverLate(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body) //nolint:errcheck // the client tells
	})
	const step = 20 * time.Millisecond
	f := startFront(t, slot, func(o *frontOptions) { o.service.ProgressTimeout = 5 * step })
	c := f.dial()
	c.say("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 20\r\n\r\n")
	tick := time.NewTicker(step)
	defer tick.Stop()
	for range 20 { // four times the timeout in all
		<-tick.C
		c.say("x")
	}
	if res, body := c.whole("POST"); res.StatusCode != 200 || len(body) != 20 {
		t.Errorf("%s %q", res.Status, body)
	}
}

func TestAClientThatStopsGivingIsToldSo(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client tells
	})
	f := startFront(t, slot, func(o *frontOptions) { o.service.ProgressTimeout = 50 * time.Millisecond })
	for _, framing := range []string{"Content-Length: 20\r\n\r\nx", "Content-Length: 200000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nx"} {
		c := f.dial()
		c.say("POST / HTTP/1.1\r\nHost: a.example\r\n" + framing)
		res, _ := c.whole("POST")
		if res.StatusCode != 408 || res.Header.Get(errorCauseField) != string(causeClientTooSlow) {
			t.Errorf("%s %v", res.Status, res.Header)
		}
		c.ended()
	}
	if f.stats().Faults != 0 {
		t.Error("it counts against the slot")
	}
}

// An SSE client that never reads, in the words of the failure modes.
func TestAClientThatNeverReadsIsCutAndItsClaimReleased(t *testing.T) {
	piece := strings.Repeat("x", 32<<10)
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	})
	for _, http2 := range []bool{false, true} {
		f := startFront(t, slot, func(o *frontOptions) { o.service.ProgressTimeout = 50 * time.Millisecond })
		if http2 {
			res, err := newClient(t, true).Get("http://" + f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
		} else {
			f.dial().say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
		}
		e := f.entry(1)
		if e["cause"] != string(causeClientTooSlow) || e["aborted"] != true {
			t.Errorf("http2 %v: access log: %v", http2, e)
		}
		if s := f.stats(); s.InFlight != 0 || s.Streams != 0 || s.Faults != 0 {
			t.Errorf("http2 %v: %+v", http2, s)
		}
	}
}

// A deadline of HTTP/2 breaks its stream even while nobody waits for anything.
func TestAStreamMayBeSilentForLongerThanAClientMayBeSlow(t *testing.T) {
	event, finish := make(chan struct{}), make(chan struct{})
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, ": hello\n\n") //nolint:errcheck // the client tells
		w.(http.Flusher).Flush()
		<-event
		io.WriteString(w, "data: 1\n\n") //nolint:errcheck // the client tells
		<-finish
	})
	const span = 30 * time.Millisecond
	for _, http2 := range []bool{false, true} {
		f := startFront(t, slot, func(o *frontOptions) { o.service.ProgressTimeout = span })
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+f.addr, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := newClient(t, http2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(4*span, func() { event <- struct{}{}; finish <- struct{}{} })
		b, err := io.ReadAll(res.Body)
		if err != nil || string(b) != ": hello\n\ndata: 1\n\n" {
			t.Errorf("http2 %v: %q, %v", http2, b, err)
		}
		res.Body.Close()
	}
}

// Trap 1, golang/go#19943, #22158: net/http's transport answers a POST 502 when
// the slot has closed the idle connection that it picks.
func TestASlotThatClosesIdleConnectionsCostsNoRequest(t *testing.T) {
	closed := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		if c.Request() != nil {
			c.Answer("ok")
		}
		c.Close()
		closed <- struct{}{}
	})
	c := startFront(t, slot.Addr()).dial()
	for range 20 {
		c.say("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi")
		if res, _ := c.whole("POST"); res.StatusCode != 200 {
			t.Fatalf("%s", res.Status)
		}
		<-closed
	}
}

func TestAPanicOfOursIsLoggedAndEndsTheConnection(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr())
	f.proxy.fwd.reverse.ModifyResponse = func(*http.Response) error { panic("a mistake") }
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	c.ended()
	if e := f.entry(1); e["cause"] != string(causeInternal) || e["caused_by"] != "proxy" {
		t.Errorf("access log: %v", e)
	}
	if f.loud.FilterMessageSnippet("panicked").Len() != 1 {
		t.Error("nobody was told")
	}
	if f.stats().InFlight != 0 {
		t.Error("the claim is still held")
	}
}
