package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// uploads are requests of both framings whose bodies are of that size.
func uploads(size int) map[string]string {
	var chunks strings.Builder
	for left := size; left > 0; left -= min(left, 10_000) {
		fmt.Fprintf(&chunks, "%x\r\n%s\r\n", min(left, 10_000), strings.Repeat("x", min(left, 10_000)))
	}
	return map[string]string{
		"sized":     fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)),
		"in chunks": chunkedPost + chunks.String() + "0\r\n\r\n",
	}
}

// How a request was cut into packets changes nothing.
func TestABodyThatComesInTwoPiecesIsOne(t *testing.T) {
	f := startFront(t, startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %v %v", body, r.Trailer, err)
	}))
	const next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for name, tt := range map[string]struct{ wire, want string }{
		"in chunks": {chunkedPost + "5;a=\"b;\"\r\nhello\r\n006\r\n, you!\r\n0;c\r\nX-Sum: 42\r\nx-real-ip: 6.6.6.6\r\nTE: x\r\n\r\n", "hello, you! map[X-Sum:[42]] <nil>"},
		"sized":     {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "hello map[] <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			for cut := strings.Index(tt.wire, "\r\n\r\n"); cut <= len(tt.wire); cut++ {
				c := f.dial()
				c.say(tt.wire[:cut])
				f.awaitRead(t, c.Conn)
				c.say(tt.wire[cut:] + next)
				if _, body := c.whole("POST"); body != tt.want {
					t.Errorf("cut at %q: %q", tt.wire[cut:], body)
				}
				if res, body := c.whole("GET"); res.StatusCode != 200 || body != " map[] <nil>" {
					t.Errorf("cut at %q, the next request: %s %q", tt.wire[cut:], res.Status, body)
				}
				c.Close()
			}
		})
	}
}

func TestConnectionsOnBothSidesOutliveUploads(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		for req := c.Request(); req != nil; req = c.Request() {
			body, _ := io.ReadAll(req.Body)
			c.Answer(fmt.Sprint(len(body)))
		}
	})
	f := startFront(t, slot.Addr())
	c, n := f.dial(), 0
	for _, size := range []int{1, smallBody + 1, spliceFrom - 1, 2*spliceFrom + 17, 3 << 20} {
		for name, request := range uploads(size) {
			c.say(request)
			if res, body := c.whole("POST"); res.StatusCode != 200 || body != fmt.Sprint(size) {
				t.Fatalf("%d bytes %s: %s with %q", size, name, res.Status, body)
			}
			c.get("/")
			n += 2
			if e := f.entry(n - 1); e["bytes_in"] != int64(size) || e["lane"] != *laneFlag {
				t.Errorf("%d bytes %s: access log: %v", size, name, e)
			}
		}
	}
	if slot.Accepted() != 1 {
		t.Errorf("%d connections to the slot", slot.Accepted())
	}
	f.await("all to be accounted for", func() bool { return f.stats().InFlight == 0 })
	if faults := f.stats().Faults; faults != 0 {
		t.Errorf("%d faults", faults)
	}
}

// Neither the slot nor its client may be kept for ever.
func TestASlotThatStopsReadingIsStalled(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Hang()
	})
	for name, request := range uploads(16 << 20) {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.StreamIdleTimeout = 100 * time.Millisecond })
			c := f.dial()
			done := make(chan struct{})
			go func() {
				defer close(done)
				io.WriteString(c.Conn, request) //nolint:errcheck // it is not taken to its end
			}()
			if res, _ := c.whole("POST"); res.StatusCode != 504 || res.Header.Get(errorCauseField) != string(causeStalled) || !res.Close {
				t.Errorf("%s %v", res.Status, res.Header)
			}
			c.Close()
			<-done
		})
	}
}

// The slot's time for its answer counts from the end of what it was sent.
func TestASlotIsNotLateWhileItsRequestArrives(t *testing.T) {
	const span = 100 * time.Millisecond
	for name, request := range uploads(smallBody + 1) {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				for n := 0; c.Request() != nil; n++ {
					if n == 1 {
						c.Hang()
					}
					c.Answer("ok")
				}
			})
			f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.ResponseHeaderTimeout = span })
			c := f.dial()
			for _, want := range []int{200, 504} {
				c.say(request[:1000])
				time.Sleep(3 * span) // the client is what is slow here
				c.say(request[1000:])
				if res, _ := c.whole("POST"); res.StatusCode != want {
					t.Errorf("%s, want %d", res.Status, want)
				}
			}
			if e := f.entry(2); e["cause"] != string(causeHeaderTimeout) {
				t.Errorf("access log: %v", e)
			}
		})
	}
}

// It stays where it is (P1), and what comes next goes to the new slot.
func TestASwapDuringAnUpload(t *testing.T) {
	name := func(slot string) func(*proxytest.Conn) {
		return func(c *proxytest.Conn) {
			for req := c.Request(); req != nil; req = c.Request() {
				body, _ := io.ReadAll(req.Body)
				c.Answer(fmt.Sprint(slot, " ", len(body)))
			}
		}
	}
	blue, green := proxytest.Start(t, name("blue")), proxytest.Start(t, name("green"))
	for framing, request := range uploads(2 * spliceFrom) {
		t.Run(framing, func(t *testing.T) {
			f := startFront(t, blue.Addr(), func(o *frontOptions) { o.service.Slots["green"] = green.Addr() })
			c := f.dial()
			c.say(request[:100_000])
			f.await("the request", func() bool { return f.stats().InFlight == 1 })
			retired, err := f.proxy.Swap(map[string]string{"backend": "green"})
			if err != nil {
				t.Fatal(err)
			}
			c.say(request[100_000:])
			if _, body := c.whole("POST"); body != fmt.Sprint("blue ", 2*spliceFrom) {
				t.Errorf("the upload: %q", body)
			}
			if counts, err := retired.Drain(t.Context()); err != nil || counts[0].Moved != 1 {
				t.Errorf("%+v, %v", counts, err)
			}
			c.say(request)
			if _, body := c.whole("POST"); body != fmt.Sprint("green ", 2*spliceFrom) {
				t.Errorf("the next one: %q", body)
			}
		})
	}
}

// Its reset is noticed although nobody can read from it: what the slot does not
// take fills all buffers.
func TestAClientThatLeavesAnUploadThatStandsStillIsNoticed(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Hang()
	})
	for name, request := range uploads(16 << 20) {
		t.Run(name, func(t *testing.T) {
			f := startFront(t, slot.Addr(), func(o *frontOptions) { o.lane = laneFast })
			c := f.dial()
			done := make(chan struct{})
			go func() {
				defer close(done)
				io.WriteString(c.Conn, request) //nolint:errcheck // it is not taken to its end
			}()
			f.await("the request", func() bool { return f.stats().InFlight == 1 })
			c.Conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // it is a socket
			c.Close()
			<-done
			if e := f.entry(1); e["cause"] != string(causeClientGone) || f.stats().Faults != 0 {
				t.Errorf("access log: %v", e)
			}
		})
	}
}

// What is malformed and comes late is answered where nothing was answered yet, and
// breaks off what was.
func TestChunksThatTurnOutMalformedEndTheAnswer(t *testing.T) {
	answered := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		if head := c.Head(); strings.Contains(head, "/early") {
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nearly")
		}
		answered <- struct{}{}
		io.Copy(io.Discard, c) //nolint:errcheck // until it is closed
	})
	for path, early := range map[string]bool{"/": false, "/early": true} {
		f := startFront(t, slot.Addr())
		c := f.dial()
		c.say("POST " + path + " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		<-answered
		if early {
			if res := c.answer("POST"); res.StatusCode != 200 || !res.Close {
				t.Errorf("%s, close %v", res.Status, res.Close)
			}
			io.ReadFull(c.r, make([]byte, 5)) //nolint:errcheck // the log tells
		}
		c.say("5\r\nhello and more\r\n")
		if e := f.entry(1); e["cause"] != string(causeBodyMalformed) || (e["aborted"] == true) != early || f.stats().Faults != 0 {
			t.Errorf("early %v: access log: %v", early, e)
		}
		if !early {
			if res, _ := c.whole("POST"); res.StatusCode != 400 || !res.Close {
				t.Errorf("%s, close %v", res.Status, res.Close)
			}
		}
		c.closeWrite()
		c.ended()
	}
}

// sizedSlot answers each request once its body of that size has come, and
// allocates nothing.
func sizedSlot(tb testing.TB, size int) string {
	tb.Helper()
	return proxytest.Start(tb, func(c *proxytest.Conn) {
		b, answer := make([]byte, 64<<10), []byte(benchAnswer)
		for {
			n, err := c.Conn.Read(b)
			if err != nil {
				return
			}
			for left := size - (n - bytes.Index(b[:n], []byte("\r\n\r\n")) - 4); left > 0; left -= n {
				if n, err = c.Conn.Read(b); err != nil {
					return
				}
			}
			c.Conn.Write(answer) //nolint:errcheck // the next read tells
		}
	}).Addr()
}

// A goroutine, and the pipe of a spliced one.
func TestALargeBodyCostsFewAllocations(t *testing.T) {
	for size, budget := range map[int]float64{smallBody + 1: 1, 2 * spliceFrom: 4} {
		f := startFront(t, sizedSlot(t, size), func(o *frontOptions) { o.settings.AccessLog, o.lane = nil, laneFast })
		c, request, in := f.dial(), []byte(uploads(size)["sized"]), make([]byte, 4<<10)
		n := testing.AllocsPerRun(100, func() {
			c.Write(request) //nolint:errcheck // the read tells
			if n, err := c.Read(in); err != nil || !bytes.HasPrefix(in[:n], []byte("HTTP/1.1 200")) {
				t.Fatalf("%q, %v", in[:n], err)
			}
		})
		t.Logf("%d bytes: %v allocations", size, n)
		if n > budget+poolMisses {
			t.Errorf("%d bytes: %v allocations, want %v at most", size, n, budget)
		}
	}
}

// The kernel moves it: while the slot stands still, what it does not take waits in
// a pipe.
func TestALargeBodyOfKnownLengthIsSpliced(t *testing.T) {
	read := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		<-read
		io.CopyN(io.Discard, c, 16<<20) //nolint:errcheck // the answer tells
		c.Answer("ok")
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.lane = laneFast })
	before := openPipes(t)
	c := f.dial()
	go io.WriteString(c.Conn, uploads(16 << 20)["sized"]) //nolint:errcheck // the answer tells
	f.await("a pipe", func() bool { return openPipes(t) == before+2 })
	close(read)
	if res, body := c.whole("POST"); body != "ok" {
		t.Errorf("%s with %q", res.Status, body)
	}
	if n := openPipes(t); n != before {
		t.Errorf("%d ends of pipes are open, %d were", n, before)
	}
}

// openPipes is the number of ends of pipes that this process has.
func openPipes(t *testing.T) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// What is read together with the end of a body may be more than one read of heads
// takes, and is all there.
func TestManyRequestsBehindABodyInChunksAreAnswered(t *testing.T) {
	const requests = 1000
	slot := proxytest.Start(t, proxytest.KeepAlive("ok"))
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.settings.AccessLog = nil })
	c := f.dial()
	c.say(chunkedPost + "5\r\nhe")
	f.awaitRead(t, c.Conn)
	go io.WriteString(c.Conn, "llo\r\n0\r\n\r\n"+strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", requests)) //nolint:errcheck // the answers tell
	for range requests + 1 {
		if res, body := c.whole("GET"); res.StatusCode != 200 || body != "ok" {
			t.Fatalf("%s with %q", res.Status, body)
		}
	}
}

// The time that such a client is waited for begins when its body is read: until
// then it is the slot that is slow.
func TestAClientThatHasSentItsWholeBodyMayStopSending(t *testing.T) {
	const grace, longer = 700 * time.Millisecond, 2500 * time.Millisecond
	read := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		<-read
		for b := make([]byte, 1<<20); !bytes.HasSuffix(b, []byte("0\r\n\r\n")); {
			n, err := c.Read(b[:cap(b)])
			if b = b[:n]; err != nil {
				return
			}
		}
		c.Answer("ok")
	})
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.HalfCloseGrace = grace })
	c := f.dial()
	c.say(chunkedPost)
	chunk := "2710\r\n" + strings.Repeat("x", 10_000) + "\r\n"
	for taken := true; taken; {
		c.say(chunk)
		taken = false
		for start := time.Now(); !taken && time.Since(start) < 500*time.Millisecond; time.Sleep(time.Millisecond) {
			taken = !f.anyConn((*clientConn).unread)
		}
	}
	c.say("0\r\n\r\n")
	c.closeWrite()
	time.Sleep(longer) // the slot is what is slow here
	close(read)
	if res, body := c.whole("POST"); body != "ok" {
		t.Errorf("%s with %q", res.Status, body)
	}
}

// A server that stops ends the reads of connections that wait for a request, and
// one of them may just have brought it.
func TestAWakeUpForPassingOnDoesNotEndABody(t *testing.T) {
	for name, request := range uploads(4 * spliceFrom) {
		for _, how := range []string{"fast", "standard"} {
			t.Run(name+" "+how, func(t *testing.T) {
				f := startFront(t, startHandler(t, func(w http.ResponseWriter, r *http.Request) {
					n, _ := io.Copy(io.Discard, r.Body)
					fmt.Fprint(w, n)
				}), func(o *frontOptions) { o.lane = how })
				c := f.dial()
				half := len(request) / 2
				for n, part := range []string{request[:100], request[100:half], request[half:]} {
					if n > 0 {
						f.awaitRead(t, c.Conn)
						f.conns.Range(func(c, _ any) bool { c.(*clientConn).nudge(); return true })
					}
					c.say(part)
				}
				if res, body := c.whole("POST"); res.StatusCode != 200 || body != fmt.Sprint(4*spliceFrom) {
					t.Errorf("%s %q", res.Status, body)
				}
			})
		}
	}
}
