package proxy

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zapcore"
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

// ReverseProxy drops parameters it takes for malformed, and net/url
// respells paths.
func TestPathAndQueryArriveAsTheyWereSpelled(t *testing.T) {
	slot, head := recordHeads(t)
	f := startFront(t, slot.Addr())
	many := "/?" + strings.Repeat("a=b&", 10_001) + "z"
	for _, target := range []string{
		"/", "/?", "/?a=1;b=2", "/?q=%zz&x=%", "/a%2Fb/%3a%3A", "//double//slash", "//host.example/x?y",
		"/sp%20ace/\"quote\"<>[]{}|\\^`", "/a/../b/./c", "/*", "/?a?b=c", many,
	} {
		f.dial().get(target)
		line, _, _ := strings.Cut(head(), "\r\n")
		if want := "GET " + target + " HTTP/1.1"; line != want {
			t.Errorf("the slot saw %.80q, want %.80q", line, want)
		}
	}
}

// golang/go#16036: an answer is neither compressed nor unpacked.
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
	f := startFront(t, proxytest.Refused(t), impatient)
	for _, framing := range []string{"Content-Length: 5\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n"} {
		c := f.dial()
		c.say("POST / HTTP/1.1\r\nHost: a.example\r\n" + framing)
		res, _ := c.whole("POST")
		if res.StatusCode != 503 || !res.Close {
			t.Fatalf("%s, close %v", res.Status, res.Close)
		}
		if strings.HasPrefix(framing, "C") {
			c.say("hello")
		} else {
			c.say("5\r\nhello\r\n0\r\n\r\n")
		}
		c.ended()
		c.Close()
	}
	if err := f.stop(); err != nil {
		t.Error(err)
	}
	if mistakes := f.loud.FilterLevelExact(zapcore.ErrorLevel).All(); len(mistakes) > 0 {
		t.Errorf("logged: %v", mistakes)
	}
}

// golang/go#53808: the client waits for leave to send, and gets its
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

// golang/go#65123, #67940, #81319.
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

func TestTrailersThatWereNotAnnouncedPassToo(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the trailers tell
		fmt.Fprint(w, r.Trailer.Get("X-Sum"))
	})
	c := startFront(t, slot).dial()
	c.say("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")
	if _, body := c.whole("POST"); body != "42" {
		t.Errorf("the slot saw %q", body)
	}
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

// golang/go#19943, #22158: net/http's transport answers a POST 502 when
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

// mistaken stands for code of ours with a mistake in it.
type mistaken struct{}

func (mistaken) Open(string) (fs.File, error) { panic("a mistake") }

func TestAPanicOfOursIsLoggedAndEndsTheConnection(t *testing.T) {
	slot := startHandler(t, http.NotFound)
	f := startFront(t, slot, func(o *frontOptions) { o.service.Assets = &Assets{Prefix: "/", Files: mistaken{}} })
	c := f.dial()
	c.say("GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n")
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
