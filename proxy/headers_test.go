package proxy

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
)

// fields parses a head as it was on the wire.
func fields(t *testing.T, head string) http.Header {
	t.Helper()
	_, rest, _ := strings.Cut(head, "\r\n")
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(rest))).ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	return http.Header(h)
}

func trusting(o *frontOptions) { o.settings.TrustedPeers = loopback() }

const nginxHead = "GET /api/x HTTP/1.1\r\n" +
	"Connection: upgrade\r\n" +
	"Host: charactier.example\r\n" +
	"X-Real-IP: 203.0.113.7\r\n" +
	"X-Forwarded-For: 198.51.100.1, 203.0.113.7\r\n" +
	"X-Forwarded-Proto: https\r\n" +
	"X-Forwarded-Host: charactier.example\r\n" +
	"X-Forwarded-Port: 443\r\n" +
	"Forwarded: for=203.0.113.7;proto=https\r\n\r\n"

// P5, first half.
func TestWhatATrustedPeerSaysArrivesAsItWasSaid(t *testing.T) {
	slot, head := recordHeads(t)
	f := startFront(t, slot.Addr(), trusting)
	c := f.dial()
	c.say(nginxHead)
	c.whole("GET")
	got := fields(t, head())
	id := got.Get(requestIDField)
	want := http.Header{
		"Host":              {"charactier.example"},
		"X-Real-Ip":         {"203.0.113.7"},
		"X-Forwarded-For":   {"198.51.100.1, 203.0.113.7"},
		"X-Forwarded-Proto": {"https"},
		"X-Forwarded-Host":  {"charactier.example"},
		"X-Forwarded-Port":  {"443"},
		"Forwarded":         {"for=203.0.113.7;proto=https"},
		"X-Request-Id":      {id},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the slot saw (-want +got):\n%s", diff)
	}
	if got := f.entry(1)["client"]; got != "203.0.113.7" {
		t.Errorf("the access log's client is %v", got)
	}
}

// P5, second half.
func TestWhatAnUntrustedPeerClaimsIsReplaced(t *testing.T) {
	slot, head := recordHeads(t)
	c := startFront(t, slot.Addr()).dial()
	c.say(strings.TrimSuffix(nginxHead, "\r\n") +
		"X-Forwarded-Ssl: on\r\nX-Forwarded-Prefix: /x\r\nX-Original-URL: /admin\r\nX-Original-Forwarded-For: 1.2.3.4\r\n" +
		"X_Forwarded_For: 1.2.3.4\r\nx-client-ip: 1.2.3.4\r\nTrue-Client-IP: 1.2.3.4\r\nX-Request-ID: mine\r\n" +
		"X-Forwarded-For: 5.6.7.8\r\n\r\n")
	c.whole("GET")
	got := fields(t, head())
	id := got.Get(requestIDField)
	want := http.Header{
		"Host":              {"charactier.example"},
		"X-Real-Ip":         {"127.0.0.1"},
		"X-Forwarded-For":   {"127.0.0.1"},
		"X-Forwarded-Proto": {"http"},
		"X-Forwarded-Host":  {"charactier.example"},
		"X-Request-Id":      {id},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the slot saw (-want +got):\n%s", diff)
	}
	if len(id) != 32 {
		t.Errorf("request id %q", id)
	}
}

func TestTheClientsAddressIsFilledInForATrustedPeer(t *testing.T) {
	slot, head := recordHeads(t)
	c := startFront(t, slot.Addr(), trusting).dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 203.0.113.9, 127.0.0.1\r\nX-Request-Id: abc-1\r\n\r\n")
	c.whole("GET")
	want := http.Header{
		"Host":              {"a.example"},
		"X-Forwarded-For":   {"203.0.113.9, 127.0.0.1"},
		"X-Real-Ip":         {"203.0.113.9"},
		"X-Forwarded-Proto": {"http"},
		"X-Request-Id":      {"abc-1"},
	}
	if diff := cmp.Diff(want, fields(t, head())); diff != "" {
		t.Errorf("the slot saw (-want +got):\n%s", diff)
	}
}

// golang/go#50580, CVE-2021-33197: with Director the last line took out what the
// proxy had added.
func TestConnectionFieldCannotTakeOutForwardedHeaders(t *testing.T) {
	attack := "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: X-Forwarded-For, X-Real-IP, X-Forwarded-Proto\r\n" +
		"Connection: X-Request-Id\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"
	for name, change := range map[string]func(*frontOptions){
		"from a trusted peer": trusting, "from anybody": func(*frontOptions) {},
	} {
		t.Run(name, func(t *testing.T) {
			slot, head := recordHeads(t)
			c := startFront(t, slot.Addr(), change).dial()
			c.say(attack)
			c.whole("GET")
			h := fields(t, head())
			for _, field := range []string{"X-Forwarded-For", "X-Real-Ip", "X-Forwarded-Proto", "X-Request-Id"} {
				if h.Get(field) == "" {
					t.Errorf("%s did not reach the slot", field)
				}
			}
		})
	}
}

// RFC 9110, section 7.6.1.
func TestHopByHopFieldsStopHereInBothDirections(t *testing.T) {
	heads := make(chan string, 1)
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		heads <- c.Head()
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-slot, , X-Other\r\nConnection: keep-alive\r\n" +
			"X-Slot: 1\r\nX-Other: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Stays: 1\r\n\r\nok")
		c.Hang()
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: x-one,, X-Two ,\r\nConnection: keep-alive\r\nX-One: 1\r\nX-Two: 1\r\n" +
		"Keep-Alive: 300\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nTE: trailers, gzip\r\nTrailer: X-T\r\n" +
		"Upgrade: h2c\r\nX-Stays: 1\r\n\r\n")
	res, _ := c.whole("GET")
	h := fields(t, <-heads)
	for _, gone := range []string{
		"Connection", "X-One", "X-Two", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Trailer", "Upgrade",
	} {
		if v, ok := h[gone]; ok {
			t.Errorf("%s: %q reached the slot", gone, v)
		}
	}
	if got := h.Get("Te"); got != "trailers" {
		t.Errorf("TE is %q, want trailers (golang/go#21096)", got)
	}
	for _, gone := range []string{"Connection", "X-Slot", "X-Other", "Keep-Alive", "Proxy-Authenticate", "Upgrade"} {
		if v, ok := res.Header[gone]; ok {
			t.Errorf("%s: %q reached the client", gone, v)
		}
	}
	if h.Get("X-Stays") == "" || res.Header.Get("X-Stays") == "" {
		t.Error("an end-to-end field was taken out")
	}
}

// Their nginx sends this with every request.
func TestConnectionUpgradeWithoutUpgradeIsOrdinaryAndKeepsItsConnection(t *testing.T) {
	slot, head := recordHeads(t)
	c := startFront(t, slot.Addr(), trusting).dial()
	for range 3 {
		c.say(nginxHead)
		res, _ := c.whole("GET")
		if res.StatusCode != 200 || res.Close {
			t.Fatalf("%s, close %v", res.Status, res.Close)
		}
		if h := head(); strings.Contains(h, "pgrade") {
			t.Errorf("the slot saw an upgrade:\n%s", h)
		}
	}
	if slot.Accepted() != 1 {
		t.Errorf("%d connections to the slot for 3 requests", slot.Accepted())
	}
}

// An absent User-Agent stays absent, and
// nothing is compressed or added on the way to the slot.
func TestNothingIsAddedToARequest(t *testing.T) {
	slot, head := recordHeads(t)
	startFront(t, slot.Addr()).dial().get("/")
	h := fields(t, head())
	for _, added := range []string{"User-Agent", "Accept-Encoding", "Via", "Connection", "Content-Length", "Transfer-Encoding"} {
		if v, ok := h[added]; ok {
			t.Errorf("%s: %q was added", added, v)
		}
	}
}

func TestAnAnswersFieldsAreTheSlotsOwn(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 200 Fine\r\nContent-Length: 15\r\nX-Powered-By: Express\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n<html>hi</html>")
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	res, _ := c.whole("GET")
	want := http.Header{
		"X-Powered-By": {"Express"}, "Set-Cookie": {"a=1", "b=2"},
		"Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}, "Content-Length": {"15"},
	}
	if diff := cmp.Diff(want, res.Header); diff != "" {
		t.Errorf("the client saw (-want +got):\n%s", diff)
	}
}

func TestUnixPeersAreTrustedOnlyWhenTheSettingsSaySo(t *testing.T) {
	for _, trust := range []bool{true, false} {
		slot, head := recordHeads(t)
		ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "front.sock"))
		if err != nil {
			t.Fatal(err)
		}
		startFront(t, slot.Addr(), func(o *frontOptions) {
			o.listener, o.settings.TrustUnixPeers = ln, trust
			o.settings.TrustedPeers = loopback()
		})
		nc, err := net.Dial("unix", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		c := &rawClient{Conn: nc, t: t, r: bufio.NewReader(nc)}
		c.say(nginxHead)
		c.whole("GET")
		want := ""
		if trust {
			want = "198.51.100.1, 203.0.113.7"
		}
		if got := fields(t, head()).Get("X-Forwarded-For"); got != want {
			t.Errorf("trusted %v: X-Forwarded-For %q, want %q", trust, got, want)
		}
	}
}

func TestTheClientIsTheLastHopThatIsNotTrusted(t *testing.T) {
	set := &Settings{TrustedPeers: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
	trusted := peer{addr: netip.MustParseAddr("10.0.0.1"), trusted: true}
	for _, tt := range []struct {
		name string
		from peer
		xff  []string
		want string
	}{
		{"nobody spoke", trusted, nil, "10.0.0.1"},
		{"one hop", trusted, []string{"192.0.2.1"}, "192.0.2.1"},
		{"a client that lies is heard last", trusted, []string{"1.1.1.1, 192.0.2.1"}, "192.0.2.1"},
		{"trusted hops are passed over", trusted, []string{"192.0.2.1, 10.9.9.9", "::1"}, "192.0.2.1"},
		{"nonsense ends the search", trusted, []string{"192.0.2.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"mapped addresses are unmapped", trusted, []string{"::ffff:192.0.2.1"}, "192.0.2.1"},
		{"an untrusted peer is the client", peer{addr: netip.MustParseAddr("192.0.2.9")}, []string{"1.1.1.1"}, "192.0.2.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{forwardedForField: tt.xff}}
			if got := addrText(clientAddr(r.Header[forwardedForField], tt.from, set)); got != tt.want {
				t.Errorf("client %s, want %s", got, tt.want)
			}
		})
	}
}

func TestRemoteAddressesThatAreNoneDoNotHurt(t *testing.T) {
	for _, remote := range []string{"", "@", "pipe", "not an address:80", "[fe80::1%eth0]:80"} {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{}}
		from := peerOf(nil, r, &Settings{TrustedPeers: loopback()})
		if from.trusted {
			t.Errorf("%q is trusted", remote)
		}
		forwardHeaders(http.Header{}, r, from, from.addr)
	}
}

func TestRequestIDsAreKeptOnlyFromTrustedPeersAndWellFormed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		id      []string
		trusted bool
		kept    bool
	}{
		{"well-formed", []string{"req_1:2.3+4/5=6@7-a"}, true, true},
		{"from anybody", []string{"abc"}, false, false},
		{"two of them", []string{"abc", "def"}, true, false},
		{"empty", []string{""}, true, false},
		{"a space", []string{"a b"}, true, false},
		{"a quote", []string{`a"b`}, true, false},
		{"128 bytes", []string{strings.Repeat("a", 128)}, true, true},
		{"129 bytes", []string{strings.Repeat("a", 129)}, true, false},
		{"none", nil, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := requestID(http.Header{requestIDField: tt.id}, tt.trusted)
			if kept := len(tt.id) == 1 && got == tt.id[0]; kept != tt.kept {
				t.Errorf("got %q", got)
			}
			if !validRequestID(got) {
				t.Errorf("%q is not well-formed", got)
			}
		})
	}
	if a, b := newRequestID(), newRequestID(); a == b || len(a) != 32 {
		t.Errorf("ids %q and %q", a, b)
	}
}

func FuzzNothingClaimedSurvivesFromUntrustedPeers(f *testing.F) {
	for _, name := range []string{"X-Forwarded-For", "x_forwarded_for", "Forwarded", "X-REAL-IP", "X-Original-Url", "Accept"} {
		f.Add(name, "1.2.3.4")
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		in := &http.Request{Host: "a.example", Header: http.Header{}}
		in.Header.Add(name, value)
		out := in.Header.Clone()
		from := peer{addr: netip.MustParseAddr("192.0.2.1")}
		forwardHeaders(out, in, from, from.addr)
		for k, v := range out {
			if claims(k) && len(v) > 0 && v[0] == value && value != "192.0.2.1" && value != "http" && value != "a.example" {
				t.Errorf("%s: %q survived", k, v)
			}
		}
		again := out.Clone()
		forwardHeaders(again, in, from, from.addr)
		if diff := cmp.Diff(out, again); diff != "" {
			t.Errorf("a second time changes it: %s", diff)
		}
	})
}
