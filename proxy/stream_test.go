package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

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
	if n := openNow(&f.proxy.stats[slotKey{"backend", "blue"}].open); n != 0 {
		t.Errorf("the stream is one of %d requests that take long", n)
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
	if n := f.proxy.table.Load().routes["backend"].target.streams.Load(); n != 0 {
		t.Errorf("%d streams are still counted", n)
	}
	if e := f.entry(1); e["stream"] != true {
		t.Errorf("access log: %v", e)
	}
}

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

// P4, however a body is framed and whoever speaks what: neither the head nor a
// byte waits for the next.
func TestNothingOfAnAnswerWaitsForWhatComesNext(t *testing.T) {
	for name, said := range map[string][]string{
		"of known length":    {"Content-Length: 2\r\n\r\n", "a", "b"},
		"in chunks":          {"Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", "1\r\nb\r\n0\r\n\r\n"},
		"in torn chunks":     {"Transfer-Encoding: chunked\r\n\r\n1", "\r\na\r\n1\r", "\nb\r\n0\r\n\r\n"},
		"up to the end":      {"Connection: close\r\n\r\n", "a", "b"},
		"of an event stream": {"Content-Type: text/event-stream\r\n\r\n", "a", "b"},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2 %v", name, http2), func(t *testing.T) {
				next := make(chan struct{})
				slot := proxytest.Start(t, func(c *proxytest.Conn) {
					c.Head()
					c.Say("HTTP/1.1 200 OK\r\n" + said[0])
					for _, s := range said[1:] {
						<-next
						c.Say(s)
					}
				})
				f := startFront(t, slot.Addr())
				res, err := newClient(t, http2).Get("http://" + f.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				for _, want := range []string{"a", "b"} {
					next <- struct{}{}
					readByte(t, res.Body, want)
				}
				if b, err := io.ReadAll(res.Body); err != nil || len(b) > 0 {
					t.Errorf("the end: %q, %v", b, err)
				}
			})
		}
	}
}

func TestNothingOfAnHTTP2SlotsAnswerWaitsForWhatComesNext(t *testing.T) {
	next := make(chan struct{})
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for _, s := range []string{"a", "b"} {
			<-next
			io.WriteString(w, s) //nolint:errcheck // the client tells
			w.(http.Flusher).Flush()
		}
	})
	f := startFront(t, slot, func(o *frontOptions) { o.service.Protocol = H2C })
	for _, http2 := range []bool{false, true} {
		res, err := newClient(t, http2).Get("http://" + f.addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"a", "b"} {
			next <- struct{}{}
			readByte(t, res.Body, want)
		}
		res.Body.Close()
	}
}

// What comes in one piece goes out in one, framed as the slot framed it.
func TestAnAnswerKeepsItsFraming(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for {
			head := c.Head()
			switch {
			case head == "":
				return
			case strings.Contains(head, "/empty"):
				c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
			case strings.Contains(head, "/chunked"):
				c.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
			default:
				c.Answer("ok")
			}
		}
	})
	c := startFront(t, slot.Addr()).dial()
	for path, length := range map[string]int64{"/empty": -1, "/chunked": -1, "/sized": 2} {
		c.say("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, _ := c.whole("GET"); res.ContentLength != length {
			t.Errorf("%s: length %d", path, res.ContentLength)
		}
	}
}

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
