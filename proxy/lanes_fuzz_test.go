package proxy

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FuzzLanes sends the same bytes through both lanes: the slot must see the same
// requests, and the client the same answers.
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
	} {
		f.Add([]byte(seed))
	}
	slot := startHandler(f, mirror)
	lanes := map[string]*front{}
	for _, lane := range []string{laneFast, laneStandard} {
		lanes[lane] = startFront(f, slot, func(o *frontOptions) {
			o.lane, o.settings.AccessLog, o.service.Upgrades = lane, nil, nil
			o.server.ReadHeaderTimeout, o.service.ProgressTimeout = time.Second, time.Second
		})
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		if strings.Contains(string(wire), "PRI") || strings.Contains(string(wire), "xpect") {
			return // HTTP/2, and interim answers whose number is the slot's mood
		}
		fast, standard := conversation(t, lanes[laneFast].addr, wire), conversation(t, lanes[laneStandard].addr, wire)
		if diff := cmp.Diff(standard, fast); diff != "" {
			t.Errorf("the lanes differ (-standard +fast):\n%s", diff)
		}
	})
}

// mirror answers with what it was asked, in one of several framings.
func mirror(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	text := fmt.Sprintf("%s %s %s\n", r.Method, r.RequestURI, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name != requestIDField {
			text += fmt.Sprintf("%s: %q\n", name, r.Header[name])
		}
	}
	text += fmt.Sprintf("length %d, %v\n%q %v\n", r.ContentLength, r.TransferEncoding, body, err)
	w.Header().Set("Date", "Tue, 24 Nov 2026 12:00:00 GMT")
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

// conversation says the bytes and then no more, and returns what was answered.
func conversation(t *testing.T, addr string, wire []byte) []heard {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience)) //nolint:errcheck // then the test hangs less politely
	c.Write(wire)                           //nolint:errcheck // the answer tells
	c.(*net.TCPConn).CloseWrite()           //nolint:errcheck // the answer tells
	var all []heard
	for br := bufio.NewReader(c); ; {
		method := http.MethodGet
		if len(all) == 0 && strings.HasPrefix(string(wire), "HEAD ") {
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
			delete(h.Header, "Date")
		}
		all = append(all, h)
	}
}
