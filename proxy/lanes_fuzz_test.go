package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/http1"

	"github.com/google/go-cmp/cmp"
)

// FuzzLanes sends the same bytes, in one piece or two, through both lanes: the slot
// must see the same requests, and the client the same answers.
func FuzzLanes(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /a%20b?c=d&e HTTP/1.1\r\nHost: a:80\r\nX-Forwarded-For: 1.2.3.4\r\nx-request-id: 7\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"HEAD / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nPragma: no-cache\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc", "GET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\ncookie: c\r\n\r\n",
		"GET /close HTTP/1.1\r\nHost: a\r\n\r\n", "GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n", "GET /304 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /204 HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /chunks HTTP/1.1\r\nHost: a\r\n\r\n",
		chunkedPost + "5;a=\"b\"\r\nhello\r\n000a\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx_forwarded-for: 2\r\nContent-Length: 3\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
		chunkedPost + "5\r\nhel", chunkedPost + "5\r\nhello!\r\n0\r\n\r\n", chunkedPost + "0\r\nA: b\x00\r\n\r\n", chunkedPost + "1\r\na\r\n0\r\nA: b\n\r\n",
		chunkedPost + "3e80\r\n" + strings.Repeat("x", 16000) + "\r\n0\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
		"POST /chunks HTTP/1.1\r\nHost: a\r\nContent-Length: 17000\r\n\r\n" + strings.Repeat("x", 17000) + "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		for _, cut := range []uint16{0, 3, 10, 20, 30, 50} {
			f.Add([]byte(seed), cut)
		}
	}
	slot := startHandler(f, mirror)
	lanes := map[string]*front{}
	for _, lane := range []string{laneFast, laneStandard} {
		lanes[lane] = startFront(f, slot, func(o *frontOptions) {
			o.lane, o.settings.AccessLog, o.service.Upgrades = lane, nil, nil
			o.server.ReadHeaderTimeout, o.service.ProgressTimeout = time.Second, time.Second
		})
	}
	f.Fuzz(func(t *testing.T, wire []byte, cut uint16) {
		if strings.Contains(string(wire), "PRI") || strings.Contains(string(wire), "xpect") {
			return // HTTP/2, and interim answers whose number is the slot's mood
		}
		first, rest := cutBody(wire, int(cut))
		standard, fast := lanes[laneStandard].conversation(t, first, rest), lanes[laneFast].conversation(t, first, rest)
		standard = withoutLastScrap(wire, standard, len(fast))
		if diff := cmp.Diff(standard, fast); diff != "" && !stricter(wire, standard, fast) {
			t.Errorf("the lanes differ (-standard +fast):\n%s", diff)
		}
	})
}

const chunkedPost = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

// withoutLastScrap leaves out the refusal of less than four bytes at the end of a
// connection. That an empty line was before them makes them enough to net/http; in
// the fast lane they get no answer.
func withoutLastScrap(wire []byte, standard []heard, answers int) []heard {
	scrap := bytes.LastIndex(wire, []byte("\r\n")) + 2
	if scrap > 1 && len(wire)-scrap < nextHead && len(standard) == answers+1 && standard[answers].Status == http.StatusBadRequest {
		return standard[:answers]
	}
	return standard
}

// stricter reports whether all that differs is that the fast lane refused what the
// other bore with: a body that it had begun to send when it found that the chunks
// do not keep to the grammar, or what follows a lone CR or LF behind a body, which
// net/http skips on the connections that are its own from the first.
func stricter(wire []byte, standard, fast []heard) bool {
	n := len(fast) - 1
	if n < 0 || len(standard) <= n || !cmp.Equal(standard[:n], fast[:n]) || fast[n].Status != http.StatusBadRequest {
		return false
	}
	ends := bytes.ReplaceAll(wire, []byte("\r\n"), nil)
	malformed := fast[n].Header.Get(errorCauseField) == string(causeBodyMalformed)
	return malformed && bytes.Contains(wire, []byte("chunked")) || !malformed && n > 0 && bytes.ContainsAny(ends, "\r\n")
}

const mirrorDate = "Tue, 24 Nov 2026 12:00:00 GMT"

// mirror answers with what it was asked, in one of several framings.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	text := fmt.Sprintf("%s %s %s\n", r.Method, r.RequestURI, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name != requestIDField {
			text += fmt.Sprintf("%s: %q\n", name, r.Header[name])
		}
	}
	text += fmt.Sprintf("length %d, %v\n%q %v\n%q", r.ContentLength, r.TransferEncoding, body, err, r.Trailer)
	w.Header().Set("Date", mirrorDate)
	switch r.URL.Path {
	case "/close":
		w.Header().Set("Connection", "close")
	case "/304":
		w.WriteHeader(http.StatusNotModified)
		return
	case "/204":
		w.WriteHeader(http.StatusNoContent)
		return
	case "/chunks":
		io.WriteString(w, text)               //nolint:errcheck // the client tells
		http.NewResponseController(w).Flush() //nolint:errcheck // the client tells
	}
	io.WriteString(w, text) //nolint:errcheck // the client tells
}

// heard is one answer.
type heard struct {
	Status int
	Header http.Header
	Body   string
	Err    bool
	Close  bool
}

// cutBody cuts within the body of the first request, if the fast lane takes it.
// (A head that net/http refuses before it was written is another matter: its
// answer may be lost.)
func cutBody(wire []byte, at int) (first, rest []byte) {
	var plain http1.Request
	head, _ := plain.Parse(wire)
	src := bytes.NewReader(wire)
	br := bufio.NewReader(src)
	req, err := http.ReadRequest(br)
	if err != nil || head == 0 {
		return wire, nil
	}
	io.Copy(io.Discard, req.Body) //nolint:errcheck // its end is where it is found to be wrong
	if end := len(wire) - src.Len() - br.Buffered(); end > head {
		at = head + at%(end-head)
		return wire[:at], wire[at:]
	}
	return wire, nil
}

// awaitRead waits until the proxy has read all that the client sent so far.
func (f *front) awaitRead(t *testing.T, c net.Conn) {
	for start := time.Now(); time.Since(start) < patience; time.Sleep(20 * time.Microsecond) {
		if unsent(t, c) == 0 && f.anyConn(func(cc *clientConn) bool {
			return cc.RemoteAddr().String() == c.LocalAddr().String() && !cc.unread()
		}) {
			return
		}
	}
	t.Fatal("the proxy does not read")
}

// conversation says the bytes in two pieces and then no more, and returns what was
// answered.
func (f *front) conversation(t *testing.T, first, rest []byte) []heard {
	f.conns.Clear()
	c, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // then the test hangs less politely
	c.Write(first)                          //nolint:errcheck // the answer tells
	if len(first) > 0 && len(rest) > 0 {
		f.awaitRead(t, c)
	}
	c.Write(rest)                 //nolint:errcheck // the answer tells
	c.(*net.TCPConn).CloseWrite() //nolint:errcheck // the answer tells
	var all []heard
	for br := bufio.NewReader(c); ; {
		method := http.MethodGet
		if len(all) == 0 && strings.HasPrefix(string(first)+string(rest), "HEAD ") {
			method = http.MethodHead
		}
		res, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return all
		}
		body, err := io.ReadAll(res.Body)
		res.Header.Del(requestIDField)
		h := heard{res.StatusCode, res.Header, string(body), err != nil, res.Close}
		if res.Header.Get(errorCauseField) != "" {
			h.Body = "" // it has the request's id
			delete(h.Header, "Content-Length")
		}
		if res.StatusCode >= 400 && res.Header.Get("Date") == "" {
			h.Err = false // net/http refused a head, and closes at once: a reset may overtake the end
		}
		if h.Header.Get("Date") != mirrorDate {
			h.Header.Del("Date") // it passes
		}
		all = append(all, h)
	}
}
