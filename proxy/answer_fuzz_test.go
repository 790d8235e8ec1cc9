package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// script is a connection that says what it was given and then ends.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(b []byte) (int, error) { return s.Reader.Read(b) }

// parsed is what a reader makes of an answer.
type parsed struct {
	Status  int
	Length  int64
	Header  http.Header
	Trailer http.Header
	Body    string
	Err     bool // within the body
	Rest    string
	Close   bool
	Framed  bool // the body's end is said, not the connection's
}

func parse(res *http.Response, br *bufio.Reader) parsed {
	body, err := io.ReadAll(res.Body)
	rest, _ := io.ReadAll(br)
	p := parsed{
		Status: res.StatusCode, Length: res.ContentLength, Header: res.Header.Clone(),
		Trailer: http.Header{}, Body: string(body), Err: err != nil, Rest: string(rest), Close: res.Close,
		Framed: res.ContentLength >= 0 || len(res.TransferEncoding) > 0 || res.Body == http.NoBody,
	}
	for name, values := range res.Trailer {
		if len(values) > 0 && trailerAllowed(name) {
			p.Trailer[name] = values
		}
	}
	return p
}

func readOurs(wire []byte, req *http.Request) (parsed, error) {
	c := &slotConn{Conn: script{Reader: bytes.NewReader(wire)}, headLeft: maxHead}
	c.br = bufio.NewReader(c)
	res, err := readAnswer(c, req)
	if err != nil {
		return parsed{}, err
	}
	c.headLeft = -1
	return parse(res, c.br), nil
}

// FuzzAnswers holds our reader of answers against net/http's: whatever ours
// takes, net/http takes as well and sees the same, but for the differences that
// are wanted.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\nHTTP/1.1",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chun\u212aed\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nConnection: close, X-A\r\nX-A: 1\r\nPragma: no-cache\r\n\r\nx",
		"HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 200 OK\nA: b\n\nx", "HTTP/1.1 200 OK\r\nA : b\r\n\r\nx", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\nx", "HTTP/1.1 200 OK\r\n: b\r\n\r\nx", "", "\r\n\r\n",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			f.Add([]byte(seed), method)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte, method string) {
		req := &http.Request{Method: method}
		ours, err := readOurs(wire, req)
		if err != nil {
			return
		}
		if ours.Framed && !ours.Err {
			end := len(wire) - len(ours.Rest) - 1
			if cut, err := readOurs(wire[:end], req); err == nil && !cut.Err {
				t.Errorf("without its last byte it ends cleanly too: %q", wire[:end])
			}
		}
		br := bufio.NewReader(bytes.NewReader(wire))
		res, err := http.ReadResponse(br, req)
		if err != nil {
			t.Fatalf("net/http refuses what we took: %v", err)
		}
		theirs := parse(res, br)
		if ours.Err && hasLoneLF(wire) {
			theirs.Err = true // net/http bears with it in trailers, see readTrailerSection
		}
		levelDifferences(&ours, &theirs)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("net/http and we differ (-theirs +ours):\n%s", diff)
		}
	})
}

// hasLoneLF reports whether some line ends without CR.
func hasLoneLF(wire []byte) bool {
	return bytes.Count(wire, []byte("\n")) > bytes.Count(wire, []byte("\r\n"))
}

// levelDifferences takes out what we do otherwise on purpose, or more strictly.
func levelDifferences(ours, theirs *parsed) {
	if strings.Contains(strings.ToLower(strings.Join(ours.Header["Connection"], ",")), "close") {
		delete(ours.Header, "Connection")
		delete(theirs.Header, "Connection")
	}
	if _, ok := ours.Header["Cache-Control"]; !ok && theirs.Header.Get("Cache-Control") == "no-cache" {
		delete(theirs.Header, "Cache-Control")
	}
	delete(ours.Header, "Trailer")
	delete(theirs.Header, "Trailer")
	if _, ok := ours.Header["Content-Length"]; !ok {
		delete(theirs.Header, "Content-Length") // beside chunks, in an answer to HEAD
	}
	if ours.Close && !theirs.Close {
		ours.Close = false // a connection that is closed for safety
	}
	if ours.Err || theirs.Err {
		ours.Rest, theirs.Rest = "", "" // it goes with the connection
		ours.Trailer, theirs.Trailer = nil, nil
	}
	if ours.Length != theirs.Length && ours.Body == theirs.Body {
		theirs.Length = ours.Length // net/http says -1 for a HEAD or 204 that has both framings
	}
}

// FuzzExchanges lets a slot say anything to a whole exchange: it must not panic
// or hang, and a body that was cut must not end cleanly.
func FuzzExchanges(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 103 Hi\r\nConnection: ,x,\r\n\r\nHTTP/1.1 204 No\r\nKeep-Alive: timeout=,=\r\n\r\nmore"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		rt := testTransport(t, "127.0.0.1:0")
		x := &exchange{t: rt, req: newRequest(t, "GET", nil)}
		x.ctx = x.req.Context()
		if err := x.prepare(); err != nil {
			t.Fatal(err)
		}
		defer x.freeHead()
		ours, theirs := net.Pipe()
		c := &slotConn{Conn: scriptedPipe{ours, bytes.NewReader(wire)}}
		c.br = bufio.NewReader(c)
		go io.Copy(io.Discard, theirs) //nolint:errcheck // it ends with the connection
		defer theirs.Close()
		res, err := x.run(c)
		if err != nil {
			return
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil && res.ContentLength > 0 && int64(len(body)) != res.ContentLength {
			t.Errorf("%d bytes of %d ended cleanly", len(body), res.ContentLength)
		}
		if err != nil && causeOf(err) == "" {
			t.Errorf("a body's error without a cause: %v", err)
		}
		if errors.Is(err, io.EOF) {
			t.Error("a cut body ended with io.EOF")
		}
	})
}

type scriptedPipe struct {
	net.Conn
	said io.Reader
}

func (s scriptedPipe) Read(b []byte) (int, error) { return s.said.Read(b) }
