package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http/httpguts"
)

// message is what a reader makes of what is on the wire.
type message struct {
	Start   []string // what its first line says
	Header  http.Header
	Framing Framing
	Length  int64
	Close   bool
	Data    string
	Whole   bool // the body came to its end
	Rest    string
}

// headerOf makes a view what net/http makes of a header.
func headerOf(h *Head) http.Header {
	header := http.Header{}
	for i := range h.Len() {
		name := textproto.CanonicalMIMEHeaderKey(string(h.Name(i)))
		header[name] = append(header[name], string(h.Value(i)))
	}
	return header
}

// take reads a body behind a head as our callers do. A body in malformed chunks
// has no rest: it goes with the connection.
func (m *message) take(h *Head, wire []byte) error {
	m.Header, m.Framing, m.Length, m.Close = headerOf(h), h.Framing(), h.Length(), h.Close()
	switch h.Framing() {
	case NoBody:
		m.Whole, m.Rest = true, string(wire)
	case Sized:
		n := min(h.Length(), int64(len(wire)))
		m.Data, m.Rest, m.Whole = string(wire[:n]), string(wire[n:]), n == h.Length()
	case Chunked:
		data, n, done, err := decode(wire, 1<<20, false)
		m.Data, m.Rest, m.Whole = string(data), string(wire[n:]), done
		return err
	case UntilClose:
		m.Data, m.Whole = string(wire), true
	}
	return nil
}

// takeTheirs reads a body behind a head as net/http does.
func (m *message) takeTheirs(body io.Reader, br *bufio.Reader) {
	data, err := io.ReadAll(body)
	rest, _ := io.ReadAll(br)
	m.Data, m.Rest, m.Whole = string(data), string(rest), err == nil
}

// compare fails where net/http sees something else. A body that did not come to
// its end has no rest.
func compare(t *testing.T, ours, theirs message) {
	t.Helper()
	if !ours.Whole && !theirs.Whole {
		ours.Rest, theirs.Rest = "", ""
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("net/http and we differ (-theirs +ours):\n%s", diff)
	}
}

// byteByByte parses what grows by that many bytes, each time somewhere else, and
// returns how the first parse that came to an end did, with its input.
func byteByByte(wire []byte, by int, parse func([]byte) (int, error)) (int, error) {
	for n := 0; ; n = min(n+by, len(wire)) {
		got, err := parse(slices.Clone(wire[:n]))
		if got != 0 || err != nil || n == len(wire) {
			return got, err
		}
	}
}

// FuzzRequests holds our reader of requests against net/http's server: what we
// take it takes as well, and sees the same.
func FuzzRequests(f *testing.F) {
	for _, wire := range notPlain() {
		if len(wire) < 1<<10 {
			f.Add([]byte(wire))
		}
	}
	for _, wire := range []string{
		browserGET, "POST /a%20b?c HTTP/1.1\r\nhost:a:80\r\ncontent-length: 5\r\nConnection: Close \r\n\r\nhelloGET /",
		"PUT / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET /",
		"OPTIONS /? HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nCookie: a\r\nCookie: b\r\nX:\t\x80 \t\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\nCache-Control: max-age=0\r\nConnection: upgrade\r\n\r\n",
	} {
		f.Add([]byte(wire))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var r Request
		n, err := r.Parse(wire)
		for _, by := range []int{1, 3, 64} {
			var again Request
			if m, e := byteByByte(wire, by, again.Parse); m != n || e != err {
				t.Errorf("%d %v at once, %d %v in pieces of %d", n, err, m, e, by)
			}
		}
		if n == 0 {
			return
		}
		if string(r.FirstLine())+string(r.AppendFields(nil, 0))+"\r\n" != string(wire[:n]) {
			t.Errorf("%q was not copied as it is", wire[:n])
		}
		ours := message{Start: []string{r.Method().String(), string(r.Target()), string(r.Path()), string(r.Get(Host))}}
		malformed := ours.take(&r.Head, wire[n:])
		br := bufio.NewReader(bytes.NewReader(wire))
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("net/http refuses what we took: %v", err)
		}
		for _, name := range []string{"Host", "Transfer-Encoding"} {
			delete(ours.Header, name) // net/http has them elsewhere
		}
		path, _, _ := strings.Cut(req.RequestURI, "?")
		theirs := message{
			Start: []string{req.Method, req.RequestURI, path, req.Host}, Header: req.Header,
			Framing: framingOf(req.ContentLength, len(req.TransferEncoding)), Length: max(0, req.ContentLength), Close: req.Close,
		}
		theirs.takeTheirs(req.Body, br)
		if err := serverRefuses(req); err != "" {
			t.Errorf("net/http's server refuses what we took: %s", err)
		}
		if malformed != nil {
			return // we are stricter
		}
		compare(t, ours, theirs)
	})
}

func framingOf(length int64, codings int) Framing {
	switch {
	case codings > 0:
		return Chunked
	case length > 0:
		return Sized
	}
	return NoBody
}

// serverRefuses is what net/http's server looks at beyond ReadRequest.
func serverRefuses(req *http.Request) string {
	if !httpguts.ValidHostHeader(req.Host) || req.Host == "" {
		return "the host"
	}
	for name, values := range req.Header {
		for _, value := range values {
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				return name
			}
		}
	}
	return ""
}

// FuzzAnswers holds our reader of answers against net/http's in the same way.
func FuzzAnswers(f *testing.F) {
	for _, wire := range badAnswers() {
		if len(wire) < 1<<10 {
			f.Add([]byte(wire), false)
		}
	}
	for _, wire := range []string{
		nodeAnswer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\nConnection: close, x\r\n\r\nhello, HTTP",
		"HTTP/1.1 200\r\nTransfer-Encoding: CHUNKED\r\nContent-Length: 3\r\nTrailer: x\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\nHTTP",
		"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nTransfer-Encoding: chunked\r\n\r\nhello",
		"HTTP/1.1 204 No\r\nContent-Length: 5\r\nPragma: no-cache\r\n\r\nhello", "HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.9 599 \xff\r\nA_b!: \t\xff \r\n\r\nup to the end",
	} {
		f.Add([]byte(wire), false)
		f.Add([]byte(wire), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, toHead bool) {
		method := GET
		if toHead {
			method = HEAD
		}
		var a Answer
		n, err := a.Parse(wire, method)
		for _, by := range []int{1, 3, 64} {
			var again Answer
			m, e := byteByByte(wire, by, func(b []byte) (int, error) { return again.Parse(b, method) })
			if m != n || (e == nil) != (err == nil) {
				t.Errorf("%d %v at once, %d %v in pieces of %d", n, err, m, e, by)
			}
		}
		if n == 0 || err != nil {
			return
		}
		ours := message{Start: []string{http.StatusText(a.Status())}}
		malformed := ours.take(&a.Head, wire[n:])
		br := bufio.NewReader(bytes.NewReader(wire))
		res, err := http.ReadResponse(br, &http.Request{Method: method.String()})
		if err != nil {
			if strings.Contains(err.Error(), "bad trailer key") {
				return // which says nothing about the body
			}
			t.Fatalf("net/http refuses what we took: %v", err)
		}
		theirs := message{Start: []string{http.StatusText(res.StatusCode)}, Header: res.Header, Close: res.Close}
		theirs.takeTheirs(res.Body, br)
		theirs.Framing, theirs.Length = ours.Framing, ours.Length // the data tell
		if malformed != nil {
			return // we are stricter
		}
		if ours.Close && !theirs.Close {
			theirs.Close = true // for safety
		}
		levelHeaders(ours.Header, theirs.Header)
		compare(t, ours, theirs)
	})
}

// levelHeaders takes out what net/http changes in a header.
func levelHeaders(ours, theirs http.Header) {
	for _, name := range []string{"Connection", "Content-Length", "Transfer-Encoding", "Trailer"} {
		delete(ours, name)
		delete(theirs, name)
	}
	if _, ok := ours["Cache-Control"]; !ok {
		delete(theirs, "Cache-Control")
	}
}

// FuzzChunks holds our reader of chunks against net/http's, however they are
// cut.
func FuzzChunks(f *testing.F) {
	for _, wire := range []string{
		"0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\nGET /", "5;a=b;c=\"d;\\\"\"\r\nhello\r\n00\r\nX: y\r\nZ:\r\n\r\nmore", "5 \t\r\nhello\r\n0 \r\n\r\n",
		"A\r\n0123456789\r\n1\r\n0\r\n0\r\n\r\n", "5\nhello\r\n", "5\r\nhello\n0\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n", "0\r\nX : y\r\n\r\n",
		"0\r\nX: y\r\n z\r\n\r\n", "ffffffffffffffff\r\n", "fffffffffffffff\r\nx", "5;\x00\r\nhello", "0\r\n\rG", "1\r\nx\r\n" + "2\r\nab\r\n",
	} {
		f.Add([]byte(wire), false)
		f.Add([]byte(wire), true)
	}
	f.Fuzz(func(t *testing.T, wire []byte, padded bool) {
		data, n, done, err := decode(wire, 1<<20, padded)
		for _, piece := range []int{1, 2, 5, 64} {
			if d, m, fin, e := decode(wire, piece, padded); !bytes.Equal(d, data) || m != n || fin != done || e != err {
				t.Errorf("in pieces of %d: %q %d %v %v, want %q %d %v %v", piece, d, m, fin, e, data, n, done, err)
			}
		}
		if err != nil {
			return
		}
		const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		br := bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(wire)))
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		ours := message{Data: string(data), Rest: string(wire[n:]), Whole: done}
		var theirs message
		theirs.takeTheirs(res.Body, br)
		compare(t, ours, theirs)
	})
}
