package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framer speaks HTTP/2 frame by frame, so that it can say what no client would.
type framer struct {
	*http2.Framer
	t        *testing.T
	settings map[http2.SettingID]uint32
	stream   uint32
}

func (f *front) dialFrames(t *testing.T) *framer {
	t.Helper()
	c := f.dial()
	c.say(http2.ClientPreface)
	fr := &framer{Framer: http2.NewFramer(c.Conn, c.r), t: t, settings: map[http2.SettingID]uint32{}, stream: 1}
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	fr.WriteSettings() //nolint:errcheck // the answer tells
	frame, err := fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	frame.(*http2.SettingsFrame).ForeachSetting(func(s http2.Setting) error { //nolint:errcheck // it returns none
		fr.settings[s.ID] = s.Val
		return nil
	})
	fr.WriteSettingsAck() //nolint:errcheck // the answer tells
	return fr
}

// ask sends a request of these fields, in pairs, and of a body unless it is nil.
func (fr *framer) ask(body []byte, fields ...string) {
	fr.t.Helper()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) //nolint:errcheck // a buffer takes all
	}
	err := fr.WriteHeaders(http2.HeadersFrameParam{
		StreamID: fr.stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == nil,
	})
	if err == nil && body != nil {
		err = fr.WriteData(fr.stream, true, body)
	}
	if err != nil {
		fr.t.Fatal(err)
	}
}

// outcome is the answer's status, or the code with which the stream or the
// connection was ended.
func (fr *framer) outcome() string {
	fr.t.Helper()
	for {
		frame, err := fr.ReadFrame()
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return frame.ErrCode.String()
		case *http2.GoAwayFrame:
			return frame.ErrCode.String()
		}
		if err != nil {
			return err.Error()
		}
	}
}

// What HTTP/2 can carry and HTTP/1.1 cannot must not become a second request or
// another field on the way.
func TestFieldsOfHTTP2CannotBreakTheRequestToTheSlot(t *testing.T) {
	plain := []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}
	with := func(pairs ...string) []string { return append(slices.Clone(plain), pairs...) }
	for name, tt := range map[string]struct {
		fields []string
		body   []byte
	}{
		"a line break in a value":       {fields: with("x", "a\r\nY: b")},
		"a bare LF in a value":          {fields: with("x", "a\nb")},
		"NUL in a value":                {fields: with("x", "a\x00b")},
		"a colon in a name":             {fields: with("x:y", "a")},
		"a space in a name":             {fields: with("x y", "a")},
		"a name in upper case":          {fields: with("X", "a")},
		"a line break in the path":      {fields: []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/ HTTP/1.1\r\nx: y\r\n\r\n"}},
		"a space in the path":           {fields: []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/a b"}},
		"a path without a slash":        {fields: []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "a"}},
		"a whole URL for a path":        {fields: []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "http://b/"}},
		"a line break in the method":    {fields: []string{":method", "GET / HTTP/1.1\r\nx: ", ":scheme", "http", ":authority", "a", ":path", "/"}},
		"a line break in the authority": {fields: []string{":method", "GET", ":scheme", "http", ":authority", "a\r\nx: y", ":path", "/"}},
		"an unknown pseudo field":       {fields: append([]string{":x", "y"}, plain...)},
		"a pseudo field too late":       {fields: with("x", "y", ":path", "/b")},
		"a method twice":                {fields: append([]string{":method", "POST"}, plain...)},
		"a length above the body's":     {fields: with("content-length", "6"), body: []byte("hello")},
		"a length below the body's":     {fields: with("content-length", "4"), body: []byte("hello")},
		"a method that nobody knows":    {fields: []string{":method", "BREW", ":scheme", "http", ":authority", "a", ":path", "/"}},
		"CONNECT":                       {fields: []string{":method", "CONNECT", ":authority", "a:443"}},
		"a WebSocket of RFC 8441":       {fields: []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "a", ":path", "/"}},
	} {
		t.Run(name, func(t *testing.T) {
			slot, _ := recordHeads(t)
			f := startFront(t, slot.Addr())
			fr := f.dialFrames(t)
			fr.ask(tt.body, tt.fields...)
			if got := fr.outcome(); got == "200" {
				t.Error("it was answered")
			}
			// A body is passed on as it comes, so its slot learns of the request.
			if tt.body == nil && slot.Accepted() != 0 || f.stats().Faults != 0 {
				t.Errorf("the slot saw it; its faults are %d", f.stats().Faults)
			}
		})
	}
	if fr := startFront(t, proxytest.Refused(t), impatient).dialFrames(t); fr.settings[http2.SettingEnableConnectProtocol] != 0 {
		t.Error("WebSockets over HTTP/2 are offered")
	}
}

// RFC 9113, section 8.2.3: a cookie that came in crumbs is one field in HTTP/1.1.
func TestCookieCrumbsOfHTTP2AreJoined(t *testing.T) {
	slot, head := recordHeads(t)
	fr := startFront(t, slot.Addr()).dialFrames(t)
	fr.ask(nil, ":method", "GET", ":scheme", "http", ":authority", "a.example", ":path", "/x?y=1;z", "cookie", "a=1", "cookie", "b=2", "cookie", "c=3")
	if got := fr.outcome(); got != "200" {
		t.Fatal(got)
	}
	h := head()
	if got := fields(t, h)["Cookie"]; !slices.Equal(got, []string{"a=1; b=2; c=3"}) {
		t.Errorf("the slot saw the cookies %q", got)
	}
	if !strings.HasPrefix(h, "GET /x?y=1;z HTTP/1.1\r\nHost: a.example\r\n") {
		t.Errorf("the slot saw\n%s", h)
	}
}

func TestTrailersAndEarlyHintsReachAClientOfHTTP2(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" +
			"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"4\r\nbody\r\n0\r\nX-Sum: 42\r\nX-Late: 43\r\n\r\n")
	})
	var hints []string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h))
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", "http://"+startFront(t, slot.Addr()).addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := newClient(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
	if diff := cmp.Diff(http.Header{"X-Sum": {"42"}, "X-Late": {"43"}}, res.Trailer); diff != "" {
		t.Errorf("trailers (-want +got):\n%s", diff)
	}
	if !slices.Equal(hints, []string{"103 map[Link:[</a.css>]]"}) || res.Header.Get("Link") != "" {
		t.Errorf("hints %q, and of the answer itself %q", hints, res.Header.Get("Link"))
	}
}

// A client must see that an answer broke off, in HTTP/2 by a reset of its stream
// while its neighbours go on.
func TestAnAnswerThatBreaksOffResetsOneStreamOnly(t *testing.T) {
	letGo := make(chan struct{})
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		if strings.HasPrefix(c.Head(), "GET /cut") {
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
			return
		}
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun")
		<-letGo
		c.Say("ended")
	})
	f := startFront(t, slot.Addr())
	client := newClient(t, true)
	whole, err := client.Get("http://" + f.addr + "/whole")
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Body.Close()
	cut, err := client.Get("http://" + f.addr + "/cut")
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Body.Close()
	if b, err := io.ReadAll(cut.Body); err == nil {
		t.Errorf("a clean end after %q", b)
	}
	close(letGo)
	if b, err := io.ReadAll(whole.Body); err != nil || string(b) != "begunended" {
		t.Errorf("its neighbour: %q, %v", b, err)
	}
}

// net/http's client, which speaks to a slot of HTTP/2, would add both.
func TestNothingIsAddedToARequestOverH2C(t *testing.T) {
	seen := make(chan http.Header, 1)
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "not really gzip") //nolint:errcheck // the client tells
	})
	f := startFront(t, slot, func(o *frontOptions) { o.service.Protocol = H2C })
	if body := f.dial().get("/?a=1;b=%zz"); body != "not really gzip" {
		t.Errorf("body %q", body)
	}
	h := <-seen
	for _, added := range []string{"User-Agent", "Accept-Encoding", "Via", "Te"} {
		if v, ok := h[added]; ok {
			t.Errorf("%s: %q was added", added, v)
		}
	}
	if proxied := newH2CTransport(testService(slot), "blue", nil).Proxy; proxied != nil {
		t.Error("the environment may send requests elsewhere")
	}
}
