package proxy

import (
	"net/http"
	"strings"
	"testing"
)

// What a stranger sends by mistake or malice is answered here and ends the
// connection; a slot's parser would drop a connection that others use as well.
func TestRequestsThatAreNotPlainNeverReachTheSlot(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr())
	for _, tt := range []struct {
		name, request string
		status        int
		cause         cause
	}{
		{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n", 501, causeConnectMethod},
		{"CONNECT with a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 501, causeConnectMethod},
		{"an authority without CONNECT", "GET example.com:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, causeBadTarget},
		{"an unknown scheme", "GET ftp://example.com/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, causeBadTarget},
		{"user information", "GET http://u:p@example.com/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, causeBadTarget},
		{"an opaque target", "GET http:example.com HTTP/1.1\r\nHost: a\r\n\r\n", 400, causeBadTarget},
		{"a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, causeBadTarget},
		{"an asterisk without OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, causeBadTarget},
		{"a method that nobody knows", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501, causeUnknownMethod},
		{"a method in lower case", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 501, causeUnknownMethod},
		// These are net/http's own refusals.
		{"both lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n", 501, ""},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, ""},
		{"a coding after chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 501, ""},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400, ""},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, ""},
		{"a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded: y\r\n\r\n", 200, ""},
		{"a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400, ""},
		{"a control character", "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := slot.Accepted()
			c := f.dial()
			c.say(tt.request)
			res, _ := c.whole("POST")
			if res.StatusCode != tt.status || res.Header.Get(errorCauseField) != string(tt.cause) {
				t.Errorf("%s, cause %q; want %d, %q", res.Status, res.Header.Get(errorCauseField), tt.status, tt.cause)
			}
			if tt.status == 200 {
				return
			}
			c.ended()
			if slot.Accepted() != before {
				t.Error("the slot saw it")
			}
		})
	}
	if f.stats().Total() > 1 {
		t.Errorf("it counts for the slot: %+v", f.stats().Requests)
	}
}

// RFC 9112, section 3.2.2: the host in the target replaces the field.
func TestOfTwoHostsTheOneInTheTargetCounts(t *testing.T) {
	slot, head := recordHeads(t)
	f := startFront(t, slot.Addr())
	for target, want := range map[string]string{
		"http://target.example/p%2Fq?a=1;b": "GET /p%2Fq?a=1;b HTTP/1.1",
		"http://target.example":             "GET / HTTP/1.1",
		"http://target.example?q":           "GET /?q HTTP/1.1",
		"https://target.example/x":          "GET /x HTTP/1.1",
	} {
		c := f.dial()
		c.say("GET " + target + " HTTP/1.1\r\nHost: field.example\r\n\r\n")
		if res, _ := c.whole("GET"); res.StatusCode != 200 {
			t.Fatalf("%s: %s", target, res.Status)
		}
		h := head()
		if line, _, _ := strings.Cut(h, "\r\n"); line != want {
			t.Errorf("%s: the slot saw %q, want %q", target, line, want)
		}
		if f := fields(t, h); f.Get("Host") != "target.example" || f.Get("X-Forwarded-Host") != "target.example" {
			t.Errorf("%s: Host %q, X-Forwarded-Host %q", target, f.Get("Host"), f.Get("X-Forwarded-Host"))
		}
	}
}

// RFC 9112, section 3.2.4.
func TestOptionsOfTheServerItselfIsForTheSlot(t *testing.T) {
	slot, head := recordHeads(t)
	f := startFront(t, slot.Addr())
	for _, target := range []string{"*", "http://a.example"} {
		c := f.dial()
		c.say("OPTIONS " + target + " HTTP/1.1\r\nHost: a.example\r\n\r\n")
		if res, _ := c.whole("OPTIONS"); res.StatusCode != 200 {
			t.Fatalf("%s", res.Status)
		}
		if line, _, _ := strings.Cut(head(), "\r\n"); line != "OPTIONS * HTTP/1.1" {
			t.Errorf("the slot saw %q", line)
		}
	}
}

// RFC 9110, section 7.8, and the known way past a proxy.
func TestAnUpgradeToH2CIsAnOrdinaryRequest(t *testing.T) {
	slot, head := recordHeads(t)
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
	if res, _ := c.whole("GET"); res.StatusCode != 200 || res.Close {
		t.Errorf("%s, close %v", res.Status, res.Close)
	}
	if h := head(); strings.Contains(h, "pgrade") || strings.Contains(h, "ettings") {
		t.Errorf("the slot saw\n%s", h)
	}
}

func TestARequestOfHTTP10WithoutAHostIsForwarded(t *testing.T) {
	slot, head := recordHeads(t)
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.0\r\n\r\n")
	if res, _ := c.whole("GET"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	}
	if got := fields(t, head()).Get("Host"); got != slot.Addr() {
		t.Errorf("Host %q", got)
	}
}

// RFC 9113, section 8.2.2: HTTP/2 knows no such fields.
func TestConnectionFieldsOfHTTP2DoNotReachTheSlot(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Connection", "Te", "Upgrade", "Keep-Alive", "Proxy-Connection"} {
			if v := r.Header.Get(name); v != "" {
				w.Header().Set("Saw-"+name, v)
			}
		}
	})
	f := startFront(t, slot)
	for name, value := range map[string]string{"Te": "gzip", "Upgrade": "websocket", "Keep-Alive": "5"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+f.addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header[name] = []string{value}
		res, err := newClient(t, true).Do(req)
		if err != nil {
			continue // our own client would not say it, or the server reset the stream
		}
		res.Body.Close()
		for saw := range res.Header {
			if strings.HasPrefix(saw, "Saw-") {
				t.Errorf("%s: the slot %s: %s", name, saw, res.Header.Get(saw))
			}
		}
	}
}

// RFC 9112, section 3.2: a target is ASCII. Node's parser (20.20.2) refuses every
// byte from 0x80 on and drops the connection; a GET is then sent a second time.
func TestATargetBeyondASCIIIsRefused(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr())
	for _, target := range []string{"/\xff\xfe", "/caf\xc3\xa9", "/?\x80"} {
		c := f.dial()
		c.say("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, _ := c.whole("GET"); res.StatusCode != 400 {
			t.Errorf("%q: %s", target, res.Status)
		}
	}
	if slot.Accepted() != 0 {
		t.Error("the slot saw it")
	}
}
