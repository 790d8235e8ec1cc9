package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nodeAnswer is what Node sends.
const nodeAnswer = "HTTP/1.1 200 OK\r\n" +
	"Content-Type: application/json; charset=utf-8\r\n" +
	"ETag: W/\"5-abc\"\r\n" +
	"Date: Tue, 24 Nov 2026 11:43:07 GMT\r\n" +
	"Connection: keep-alive\r\n" +
	"Keep-Alive: timeout=5\r\n" +
	"Content-Length: 97\r\n\r\n"

// framed is what a head says of its body.
type framed struct {
	Framing Framing
	Length  int64
	Close   bool
	Passes  string // the fields that are passed on
}

func TestWhereAnAnswerEnds(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, tt := range map[string]struct {
		method Method
		head   string
		want   framed
	}{
		"a length":                   {GET, ok + "Content-Length: 5\r\n", framed{Sized, 5, false, "Content-Length: 5\r\n"}},
		"no body":                    {GET, ok + "Content-Length: 0\r\n", framed{NoBody, 0, false, "Content-Length: 0\r\n"}},
		"a length twice":             {GET, ok + "Content-Length: 5\r\nA: b\r\nContent-Length:5\r\n", framed{Sized, 5, false, "Content-Length: 5\r\nA: b\r\n"}},
		"chunks":                     {GET, ok + "Transfer-Encoding: Chunked\r\nTrailer: x\r\n", framed{Chunked, 0, false, "Transfer-Encoding: Chunked\r\nTrailer: x\r\n"}},
		"chunks and a length":        {GET, ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", framed{Chunked, 0, true, "Transfer-Encoding: chunked\r\n"}},
		"up to the end":              {GET, ok + "A: b\r\n", framed{UntilClose, 0, true, "A: b\r\n"}},
		"close":                      {GET, ok + "Connection: a, CLOSE\r\nContent-Length: 5\r\n", framed{Sized, 5, true, "Content-Length: 5\r\n"}},
		"an answer to HEAD":          {HEAD, ok + "Content-Length: 5\r\n", framed{NoBody, 0, false, "Content-Length: 5\r\n"}},
		"chunks to HEAD":             {HEAD, ok + "Transfer-Encoding: chunked\r\nTrailer: x\r\nA: b\r\n", framed{NoBody, 0, false, "A: b\r\n"}},
		"nothing to HEAD":            {HEAD, ok, framed{NoBody, 0, false, ""}},
		"204":                        {GET, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n", framed{NoBody, 0, false, ""}},
		"304":                        {GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", framed{NoBody, 0, false, "Content-Length: 5\r\n"}},
		"103":                        {GET, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n", framed{NoBody, 0, false, "Link: </a>\r\n"}},
		"HTTP/1.0":                   {GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", framed{Sized, 5, true, "Content-Length: 5\r\n"}},
		"HTTP/1.0 that goes on":      {GET, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n", framed{Sized, 5, false, "Content-Length: 5\r\n"}},
		"HTTP/1.0 with chunks":       {GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n", framed{UntilClose, 0, true, ""}},
		"HTTP/1.0 with both":         {GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nContent-Length: 5\r\n", framed{Sized, 5, true, "Content-Length: 5\r\n"}},
		"HTTP/1.7":                   {GET, "HTTP/1.7 200 OK\r\nContent-Length: 5\r\n", framed{Sized, 5, false, "Content-Length: 5\r\n"}},
		"fields of one connection":   {GET, ok + "Connection: x-a,, Upgrade\r\nX-A: b\r\nConnection: X-B\r\nUpgrade: h2c\r\nx-b: 1\r\nX-C: 1\r\nTE: x\r\nContent-Length: 0\r\n", framed{NoBody, 0, false, "X-C: 1\r\nContent-Length: 0\r\n"}},
		"a length that is named":     {GET, ok + "Connection: content-length\r\nContent-Length: 5\r\n", framed{Sized, 5, false, "Content-Length: 5\r\n"}},
		"a reason that is missing":   {GET, "HTTP/1.1 200\r\nContent-Length: 0\r\n", framed{NoBody, 0, false, "Content-Length: 0\r\n"}},
		"a reason that is empty":     {GET, "HTTP/1.1 200 \r\nContent-Length: 0\r\n", framed{NoBody, 0, false, "Content-Length: 0\r\n"}},
		"a reason in Japanese":       {GET, "HTTP/1.1 200 \xe8\x89\xaf\xe3\x81\x84\r\nContent-Length: 0\r\n", framed{NoBody, 0, false, "Content-Length: 0\r\n"}},
		"a status that nobody knows": {GET, "HTTP/1.1 799 ?\r\nContent-Length: 0\r\n", framed{NoBody, 0, false, "Content-Length: 0\r\n"}},
		"names that are only tokens": {GET, ok + "x_y.z!: 1\r\nContent-Length: 0\r\n", framed{NoBody, 0, false, "x_y.z!: 1\r\nContent-Length: 0\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			var a Answer
			n, err := a.Parse([]byte(tt.head+"\r\nhello"), tt.method)
			if err != nil || n != len(tt.head)+2 {
				t.Fatal(n, err)
			}
			got := framed{a.Framing(), a.Length(), a.Close(), string(a.AppendFields(nil, HopByHop))}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// badAnswers are answers that no reading makes sense of, or two do.
func badAnswers() map[string]string {
	const ok = "HTTP/1.1 200 OK\r\n"
	return map[string]string{
		"HTTP/2":                    "HTTP/2.0 200 OK\r\n\r\n",
		"lower case":                "http/1.1 200 OK\r\n\r\n",
		"no HTTP":                   "SSH-2.0-OpenSSH_9.2\r\n",
		"a status of two digits":    "HTTP/1.1 20 OK\r\n\r\n",
		"a status of four digits":   "HTTP/1.1 2000 OK\r\n\r\n",
		"a status below 100":        "HTTP/1.1 099 OK\r\n\r\n",
		"a signed status":           "HTTP/1.1 +20 OK\r\n\r\n",
		"two spaces":                "HTTP/1.1  200 OK\r\n\r\n",
		"no status":                 "HTTP/1.1\r\n\r\n",
		"a control in the reason":   "HTTP/1.1 200 O\x00K\r\n\r\n",
		"a bare CR in the reason":   "HTTP/1.1 200 O\rK\r\n\r\n",
		"a bare LF":                 ok + "A: b\nC: d\r\n\r\n",
		"a bare LF after the first": "HTTP/1.1 200 OK\nA: b\r\n\r\n",
		"a bare LF at the end":      ok + "A: b\r\n\n",
		"a bare CR":                 ok + "A: b\r-C: d\r\n\r\n",
		"a folded field":            ok + "A: b\r\n c\r\n\r\n",
		"a space before the colon":  ok + "A : b\r\n\r\n",
		"no name":                   ok + ": b\r\n\r\n",
		"no colon":                  ok + "A\r\n\r\n",
		"a name that is no token":   ok + "A(b): c\r\n\r\n",
		"NUL":                       ok + "A: \x00\r\n\r\n",
		"gzip, chunked":             ok + "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"chunked twice":             ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		"chunked by another k":      ok + "Transfer-Encoding: chun\u212aed\r\n\r\n",
		"an empty coding":           ok + "Transfer-Encoding:\r\n\r\n",
		"two lengths":               ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
		"a list of lengths":         ok + "Content-Length: 5, 5\r\n\r\n",
		"a signed length":           ok + "Content-Length: +5\r\n\r\n",
		"a negative length":         ok + "Content-Length: -5\r\n\r\n",
		"an empty length":           ok + "Content-Length:\r\n\r\n",
		"a length beside chunks":    ok + "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"a length beyond all":       ok + "Content-Length: 9223372036854775808\r\n\r\n",
		"too many fields":           ok + strings.Repeat("A: b\r\n", MaxAnswerFields+1) + "\r\n",
		"too many options":          ok + "Connection: " + strings.Repeat("a,", maxOptions+1) + "\r\n\r\n",
		"a head that does not end":  ok + "A: " + strings.Repeat("a", MaxAnswerHead),
	}
}

func TestABadAnswerIsAnError(t *testing.T) {
	for name, wire := range badAnswers() {
		t.Run(name, func(t *testing.T) {
			var a Answer
			n, err := a.Parse([]byte(wire), GET)
			if err == nil {
				t.Fatal(n)
			}
			if text := err.Error(); len(text) > 600 || strings.ContainsAny(text, "\r\n\x00") {
				t.Errorf("%q does not fit into a log", text)
			}
		})
	}
}

func TestOnlyFinalAnswersEndTheWait(t *testing.T) {
	for status, want := range map[int]bool{100: true, 101: false, 103: true, 200: false, 500: false} {
		var a Answer
		if _, err := a.Parse(fmt.Appendf(nil, "HTTP/1.1 %d\r\n\r\n", status), GET); err != nil {
			t.Fatal(err)
		}
		if a.Status() != status || a.Informational() != want {
			t.Errorf("%d: %d %v", status, a.Status(), a.Informational())
		}
	}
}

func TestTheTimeoutThatASlotNames(t *testing.T) {
	for fields, want := range map[string]int{
		"":                                      -1,
		"Keep-Alive: timeout=5":                 5,
		"Keep-Alive: max=100, Timeout = \"7\" ": 7,
		"Keep-Alive: timeout=0":                 0,
		"Keep-Alive: timeout=x, timeout=3":      3,
		"Keep-Alive: max=1\r\nKeep-Alive: timeout=4": 4,
		"Keep-Alive: timeout":                        -1,
		"Keep-Alive: timeouts=5":                     -1,
		"Keep-Alive: timeout=1048575":                1048575,
		"Keep-Alive: timeout=1048576":                -1,
		"Keep-Alive: timeout=-5,":                    -1,
	} {
		var a Answer
		if _, err := a.Parse([]byte("HTTP/1.1 200 OK\r\n"+fields+"\r\n\r\n"), GET); err != nil {
			t.Fatal(err)
		}
		if got := a.KeepAliveTimeout(); got != want {
			t.Errorf("%q: %d, want %d", fields, got, want)
		}
	}
}

func TestStatusLinesAreThoseOfNetHTTP(t *testing.T) {
	for status, want := range map[int]string{
		200: "HTTP/1.1 200 OK\r\n", 404: "HTTP/1.1 404 Not Found\r\n", 799: "HTTP/1.1 799 status code 799\r\n",
	} {
		if got := string(AppendStatusLine(nil, status)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	got := AppendLength(AppendField(AppendField(nil, "A", "b"), "C", []byte("d")), 1<<40)
	if want := "A: b\r\nC: d\r\nContent-Length: 1099511627776\r\n"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}
