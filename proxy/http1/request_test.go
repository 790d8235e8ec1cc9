package http1

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// browserGET is what a browser sends through an nginx.
const browserGET = "GET /api/v1/characters/42?lang=ja&fields=name,voice HTTP/1.1\r\n" +
	"Host: charactier.example\r\n" +
	"Connection: keep-alive\r\n" +
	"X-Real-IP: 203.0.113.7\r\n" +
	"X-Forwarded-For: 203.0.113.7\r\n" +
	"X-Forwarded-Proto: https\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
	"Accept: application/json, text/plain, */*\r\n" +
	"Accept-Language: ja,en-US;q=0.7,en;q=0.3\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Referer: https://charactier.example/characters\r\n" +
	"Cookie: session=6f1d2c9ab04e4c1b8a; theme=dark\r\n" +
	"If-None-Match: W/\"5-abc\"\r\n\r\n"

func TestAPlainRequestIsUnderstood(t *testing.T) {
	var r Request
	wire := []byte(browserGET + "GET /next")
	n, err := r.Parse(wire)
	if err != nil || n != len(browserGET) {
		t.Fatal(n, err)
	}
	got := []string{
		r.Method().String(), string(r.Target()), string(r.Path()), string(r.FirstLine()),
		string(r.Get(Host)), string(r.Get(UserAgent)), fmt.Sprint(r.Get(Traceparent) == nil), fmt.Sprint(r.Len()),
		string(r.Name(11)), string(r.Value(10)),
		fmt.Sprint(r.Framing(), r.Length(), r.Close(), r.Known(0) == Host, r.Seen().Has(XForwardedFor), r.Repeated()),
	}
	want := []string{
		"GET", "/api/v1/characters/42?lang=ja&fields=name,voice", "/api/v1/characters/42",
		"GET /api/v1/characters/42?lang=ja&fields=name,voice HTTP/1.1\r\n", "charactier.example",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "true", "12",
		"If-None-Match", "session=6f1d2c9ab04e4c1b8a; theme=dark", "0 0 false true true 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestARequestsBodyIsFramed(t *testing.T) {
	const head = "POST /a HTTP/1.1\r\nHost: a\r\n"
	for name, tt := range map[string]struct {
		fields string
		want   Framing
		length int64
		close  bool
	}{
		"no body":             {"", NoBody, 0, false},
		"a length":            {"Content-Length: 5\r\n", Sized, 5, false},
		"a length of zero":    {"content-length:0\r\n", NoBody, 0, false},
		"the largest length":  {"Content-Length: 9223372036854775807 \r\n", Sized, 1<<63 - 1, false},
		"chunks":              {"Transfer-Encoding:\t chunked \r\n", Chunked, 0, false},
		"close":               {"Connection: Close\r\n", NoBody, 0, true},
		"keep-alive":          {"Connection: Keep-Alive\r\n", NoBody, 0, false},
		"nothing to go up to": {"Connection: upgrade\r\n", NoBody, 0, false},
		"te":                  {"TE: trailers\r\n", NoBody, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			var r Request
			n, err := r.Parse([]byte(head + tt.fields + "\r\nhello"))
			if err != nil || n != len(head+tt.fields)+2 {
				t.Fatal(n, err)
			}
			if r.Framing() != tt.want || r.Length() != tt.length || r.Close() != tt.close {
				t.Error(r.Framing(), r.Length(), r.Close())
			}
		})
	}
}

func TestTargetsArriveAsTheyWereSpelled(t *testing.T) {
	for target, path := range map[string]string{
		"/":               "/",
		"/?":              "/",
		"/a%2Fb/../c;d=e": "/a%2Fb/../c;d=e",
		"/a?b?c=%zz&/;|{": "/a",
		"/a/*:@b":         "/a/*:@b",
		"/a//b":           "/a//b",
	} {
		var r Request
		if n, err := r.Parse([]byte("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")); n == 0 || err != nil {
			t.Errorf("%s: %d %v", target, n, err)
			continue
		}
		if string(r.Path()) != path || string(r.Target()) != target {
			t.Errorf("%s: target %q, path %q", target, r.Target(), r.Path())
		}
	}
}

// notPlain are requests for the other reader, by what is odd about them.
func notPlain() map[string]string {
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\n"
	return map[string]string{
		"HTTP/1.0":                      "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
		"HTTP/1.2":                      "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
		"HTTP/0.9":                      "GET /\r\n\r\n",
		"a version in lower case":       "GET / http/1.1\r\nHost: a\r\n\r\n",
		"the preface of HTTP/2":         "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"TLS":                           "\x16\x03\x01\x02\x00",
		"an empty line before":          "\r\n" + get + "\r\n",
		"a space before":                " " + get + "\r\n",
		"the absolute form":             "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"the authority form":            "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
		"the asterisk":                  "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"no target":                     "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
		"two slashes":                   "GET //a HTTP/1.1\r\nHost: a\r\n\r\n",
		"a fragment":                    "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
		"a fragment in a query":         "GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n",
		"a bad escape":                  "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"half an escape":                "GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n",
		"a control in the target":       "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
		"DEL in the target":             "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
		"a target beyond ASCII":         "GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
		"a query beyond ASCII":          "GET /?\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
		"a tab in the target":           "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
		"two spaces":                    "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
		"a space at the end":            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
		"CONNECT":                       "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
		"TRACE":                         "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method in lower case":        "get / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method that is seldom":       "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method like another":         "GETS / HTTP/1.1\r\nHost: a\r\n\r\n",
		"no method":                     " / HTTP/1.1\r\nHost: a\r\n\r\n",
		"Upgrade":                       get + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		"Upgrade alone":                 get + "Upgrade: h2c\r\n\r\n",
		"Expect":                        post + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		"Trailer":                       post + "Trailer: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"TE that is not trailers":       get + "TE: gzip\r\n\r\n",
		"TE with more than trailers":    get + "TE: trailers, gzip\r\n\r\n",
		"two options":                   get + "Connection: keep-alive, close\r\n\r\n",
		"an option that names a field":  get + "Connection: x-a\r\n\r\n",
		"an empty Connection":           get + "Connection:\r\n\r\n",
		"Connection twice":              get + "Connection: close\r\nConnection: close\r\n\r\n",
		"both framings":                 post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"CHUNKED":                       post + "Transfer-Encoding: CHUNKED\r\n\r\n",
		"gzip":                          post + "Transfer-Encoding: gzip\r\n\r\n",
		"gzip, chunked":                 post + "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"chunked with a parameter":      post + "Transfer-Encoding: chunked;a=b\r\n\r\n",
		"chunked twice":                 post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"an empty coding":               post + "Transfer-Encoding:\r\n\r\n",
		"a length twice":                post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
		"a list of lengths":             post + "Content-Length: 5, 5\r\n\r\n",
		"a signed length":               post + "Content-Length: +5\r\n\r\n",
		"a length with zeros":           post + "Content-Length: 05\r\n\r\n",
		"an empty length":               post + "Content-Length:\r\n\r\n",
		"a hexadecimal length":          post + "Content-Length: 0x5\r\n\r\n",
		"a length beyond all numbers":   post + "Content-Length: 9223372036854775808\r\n\r\n",
		"a length that wraps around":    post + "Content-Length: 18446744073709551617\r\n\r\n",
		"no host":                       "GET / HTTP/1.1\r\n\r\n",
		"an empty host":                 "GET / HTTP/1.1\r\nHost: \r\n\r\n",
		"two hosts":                     get + "Host: b\r\n\r\n",
		"a host with a path":            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
		"a host with a user":            "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
		"two hosts in one":              "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
		"an escaped host":               "GET / HTTP/1.1\r\nHost: %61\r\n\r\n",
		"a folded field":                get + "X: a\r\n b\r\n\r\n",
		"a folded field with a tab":     get + "X: a\r\n\tb\r\n\r\n",
		"a folded empty field":          get + "X:\r\n \r\n\r\n",
		"a bare LF":                     get + "X: a\n\r\n",
		"a bare LF in the request line": "GET / HTTP/1.1\nHost: a\r\n\r\n",
		"a bare LF at the end":          get + "X: a\r\n\n",
		"a bare CR":                     get + "X: a\r-b: c\r\n\r\n",
		"a bare CR in the request line": "GET / HTTP/1.1\rHost: a\r\n\r\n",
		"two CR":                        get + "X: a\r\r\n\r\n",
		"a CR at the end":               get + "\r\r\n",
		"NUL":                           get + "X: a\x00b\r\n\r\n",
		"a control":                     get + "X: a\x1fb\r\n\r\n",
		"DEL":                           get + "X: abcdefghi\x7f\r\n\r\n",
		"a space before the colon":      get + "X : a\r\n\r\n",
		"a tab before the colon":        get + "X\t: a\r\n\r\n",
		"no name":                       get + ": a\r\n\r\n",
		"no colon":                      get + "X\r\n\r\n",
		"an underscore":                 get + "X_Forwarded_For: a\r\n\r\n",
		"a name that is no token":       get + "X(y): a\r\n\r\n",
		"a name beyond ASCII":           get + "X\xc3\xa9: a\r\n\r\n",
		"a space before a field":        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
		"Pragma alone":                  get + "Pragma: no-cache\r\n\r\n",
		"an empty User-Agent":           get + "User-Agent:\r\n\r\n",
		"too many fields":               get + strings.Repeat("X: a\r\n", MaxRequestFields) + "\r\n",
		"too long a head":               get + "X: " + strings.Repeat("a", MaxRequestHead) + "\r\n\r\n",
		"a line that does not end":      "GET /" + strings.Repeat("a", MaxRequestHead),
	}
}

func TestWhatIsNotPlainIsLeftToTheOther(t *testing.T) {
	for name, wire := range notPlain() {
		t.Run(name, func(t *testing.T) {
			var r Request
			if n, err := r.Parse([]byte(wire)); err != ErrNotMine {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}

// A client that waits after half a request must be handed over before it has
// sent a whole one, or nobody would ever answer it.
func TestWhatIsNotPlainShowsAtOnce(t *testing.T) {
	for _, wire := range []string{
		"\x16", "\r", "P ", "GET\t", "GET h", "GET //", "GET /%2g", "GET / HTTP/2", "GET / HTTP/1.1\n",
		"GET / HTTP/1.1\r\nHost: a\n", "GET / HTTP/1.1\r\nHost: a\r\n ", "GET / HTTP/1.1\r\nX\x00", "PROPFIND",
	} {
		var r Request
		if _, err := r.Parse([]byte(wire)); err != ErrNotMine {
			t.Errorf("%q: %v", wire, err)
		}
	}
}

func TestALargeHeadIsPlainUpToTheLimit(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: a\r\nX: "
	fits := head + strings.Repeat("a", MaxRequestHead-len(head)-4) + "\r\n\r\n"
	var r Request
	if n, err := r.Parse([]byte(fits + "more")); n != MaxRequestHead || err != nil {
		t.Error(n, err)
	}
}

func TestFieldsAreCopiedButForThoseThatAreDropped(t *testing.T) {
	var r Request
	wire := "GET / HTTP/1.1\r\nX-Forwarded-For: 1\r\nHost: a\r\nx-forwarded-SSL:on\r\nA:  b \r\nC: d\r\n" +
		"Keep-Alive: 5\r\nX-Original-URL: /\r\nE: f\r\nCONNECTION: keep-alive\r\n\r\n"
	if _, err := r.Parse([]byte(wire)); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		drop Set
		want string
	}{
		"none":       {0, wire[len(r.FirstLine()) : len(wire)-2]},
		"hop by hop": {HopByHop, "X-Forwarded-For: 1\r\nHost: a\r\nx-forwarded-SSL:on\r\nA:  b \r\nC: d\r\nX-Original-URL: /\r\nE: f\r\n"},
		"more": {
			HopByHop | SetOf(XForwardedFor, XForwardedOther, XOriginal),
			"Host: a\r\nA:  b \r\nC: d\r\nE: f\r\n",
		},
		"all that are known": {^Set(0), "A:  b \r\nC: d\r\nE: f\r\n"},
	} {
		if got := string(r.AppendFields([]byte(">"), tt.drop)); got != ">"+tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTheFirstControlIsFoundWhereverItIs(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			line := bytes.Repeat([]byte{' ', 0xff, '~', 0x80}, 5)
			line[at] = byte(c)
			want := len(line)
			if c < ' ' || c == 0x7f {
				want = at
			}
			for from := range at + 1 {
				if got := nextControl(line, from); got != want {
					t.Fatalf("byte %#x at %d, from %d: %d", c, at, from, got)
				}
			}
		}
	}
}

func TestEveryKnownFieldIsFoundInAnyCase(t *testing.T) {
	seen := map[string]bool{}
	for k := Known(1); k < numKnown; k++ {
		name := names[k]
		if name == "" || seen[name] {
			t.Errorf("field %d has no name of its own: %q", k, name)
		}
		seen[name] = true
		for _, spelled := range []string{name, strings.ToUpper(name)} {
			if got := knownOf([]byte(spelled)); got != k {
				t.Errorf("%s is %d, want %d", spelled, got, k)
			}
		}
		if got := knownOf([]byte(name + "z")); got != 0 && got != XForwardedOther && got != XOriginal {
			t.Errorf("%sz is %d", name, got)
		}
	}
	for name, want := range map[string]Known{
		"X-Forwarded-Ssl": XForwardedOther, "x-forwarded-": XForwardedOther, "X-Original-Url": XOriginal,
		"X-Original": 0, "X-Forwarde": 0, "Xx": 0, "x": 0, "-": 0,
	} {
		if got := knownOf([]byte(name)); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
	if numKnown > 64 {
		t.Error("a Set has no room for them")
	}
}
