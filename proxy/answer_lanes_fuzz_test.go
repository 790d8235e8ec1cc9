package proxy

import (
	"net/http"
	"testing"
	"time"

	"charactier-proxy/proxy/http1"

	"github.com/google/go-cmp/cmp"
)

// FuzzAnswersOfBothLanes holds the fast lane's reader of answers against the
// standard lane's: whatever the first takes, the second takes as well, and both
// see the same body, the same end and the same future of the connection.
func FuzzAnswersOfBothLanes(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: max=3, timeout=\"5\"\r\n\r\nhello, more",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\nConnection: a, close\r\n\r\nhel",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5 \r\nhello\r\n0 \r\n\r\n",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\nKeep-Alive: timeout=1\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nKeep-Alive: timeout=0\r\n\r\nhello",
		"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.5 200\r\nA: b\r\n\r\nup to the end",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx", "HTTP/1.1 101 Go\r\n\r\n\x00\x01",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, toHead bool) {
		method := http1.GET
		if toHead {
			method = http1.HEAD
		}
		var a http1.Answer
		n, err := a.Parse(wire, method)
		if n == 0 || err != nil {
			return
		}
		fast, err := readFast(&a, wire[n:])
		if err != nil {
			return // it is stricter with chunks
		}
		standard, err := readOurs(wire, &http.Request{Method: method.String()})
		if err != nil {
			t.Fatalf("the standard lane refuses what the fast lane took: %v", err)
		}
		if limit, want := idleLimit(a.KeepAliveTimeout()), namedIdleLimit(standard.Header); limit != want {
			t.Errorf("idle for %v, the standard lane %v", limit, want)
		}
		standard.Header, standard.Trailer, standard.Length = nil, nil, 0
		if standard.Err {
			fast.Rest, standard.Rest = "", "" // it goes with the connection
		}
		if diff := cmp.Diff(standard, fast); diff != "" {
			t.Errorf("the lanes differ (-standard +fast):\n%s", diff)
		}
	})
}

// readFast reads what follows an answer's head.
func readFast(a *http1.Answer, wire []byte) (parsed, error) {
	p := parsed{Status: a.Status(), Close: a.Close(), Framed: a.Framing() != http1.UntilClose, Rest: string(wire)}
	switch a.Framing() {
	case http1.Sized:
		n := min(a.Length(), int64(len(wire)))
		p.Body, p.Rest, p.Err = string(wire[:n]), string(wire[n:]), n < a.Length()
	case http1.UntilClose:
		p.Body, p.Rest = string(wire), ""
	case http1.Chunked:
		c := http1.Chunks{Padded: true}
		for len(wire) > 0 && !c.Done() {
			data, used, err := c.Next(wire)
			if err != nil {
				return p, err
			}
			p.Body, wire = p.Body+string(data), wire[used:]
		}
		p.Rest, p.Err = string(wire), !c.Done()
	}
	return p, nil
}

// idleLimit is what namedIdleLimit makes of the seconds that a slot names.
func idleLimit(seconds int) time.Duration {
	switch {
	case seconds < 0:
		return -1
	case seconds == 1:
		return time.Second / 2
	}
	return time.Duration(max(0, seconds-1)) * time.Second
}
