package proxy

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestAMalformedBodyIsTheClientsFault(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // the client tells
	})
	for name, body := range map[string]string{
		"a chunk without a length": "Transfer-Encoding: chunked\r\n\r\nhello\r\n",
		"a chunk that lies":        "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
		"NUL in a trailer":         "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n",
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
		"of known length": "Content-Length: 100\r\n\r\nshort", "large": "Content-Length: 20000\r\n\r\nshort",
		"larger": "Content-Length: 1000000\r\n\r\nshort", "in chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
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

func TestLargeBodiesPassUnchanged(t *testing.T) {
	slot := startHandler(t, echo)
	sum := sha256.New()
	random := rand.NewChaCha8([32]byte{1})
	f := startFront(t, slot)
	for _, tt := range []struct {
		name   string
		size   int64
		length int64
		http2  bool
	}{
		{"of known length", 20 << 20, 20 << 20, false},
		{"in chunks", 5 << 20, -1, false},
		{"over HTTP/2", 5 << 20, -1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sum.Reset()
			body := io.TeeReader(io.LimitReader(random, tt.size), sum)
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
			if n, err := io.Copy(got, res.Body); err != nil || n != tt.size {
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
	for _, framing := range []string{"Content-Length: 20\r\n\r\nx", "Content-Length: 200000\r\n\r\nx", "Content-Length: 2000000\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n5\r\nx"} {
		c := f.dial()
		c.say("POST / HTTP/1.1\r\nHost: a.example\r\n" + framing)
		res, _ := c.whole("POST")
		if res.StatusCode != 408 || res.Header.Get(errorCauseField) != string(causeClientTooSlow) {
			t.Errorf("%s %v", res.Status, res.Header)
		}
		c.closeWrite()
		c.ended()
		c.Close()
	}
	if f.stats().Faults != 0 {
		t.Error("it counts against the slot")
	}
}
