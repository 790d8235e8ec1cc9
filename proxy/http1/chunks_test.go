package http1

import (
	"strings"
	"testing"
)

// decode takes a body in pieces of that many bytes and returns its data, how
// many bytes it had on the wire, and whether it came to its end.
func decode(wire []byte, piece int, padded bool) (data []byte, n int, done bool, err error) {
	c := Chunks{Padded: padded}
	for n < len(wire) && !c.Done() && err == nil {
		b := wire[n:min(n+piece, len(wire))]
		for len(b) > 0 && !c.Done() && err == nil {
			var d []byte
			var used int
			d, used, err = c.Next(b)
			data, n, b = append(data, d...), n+used, b[used:]
		}
	}
	return data, n, c.Done(), err
}

// follow takes what of b belongs to the body and returns how much that is.
func follow(c *Chunks, b []byte) (n int, err error) {
	for n < len(b) && !c.Done() && err == nil {
		var used int
		_, used, err = c.Next(b[n:])
		n += used
	}
	return n, err
}

func TestABodyInChunksIsFollowedToItsEnd(t *testing.T) {
	for name, tt := range map[string]struct{ wire, data string }{
		"nothing":              {"0\r\n\r\n", ""},
		"one chunk":            {"5\r\nhello\r\n0\r\n\r\n", "hello"},
		"two chunks":           {"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
		"sizes in any case":    {"a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n", "01234567890123456789"},
		"line ends as data":    {"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"},
		"zeros":                {"000000000000005\r\nhello\r\n0000\r\n\r\n", "hello"},
		"an extension":         {"5;a\r\nhello\r\n0;b\r\n\r\n", "hello"},
		"extensions":           {"5;a=b;c=\"d;\\\"e\";f\r\nhello\r\n0\r\n\r\n", "hello"},
		"a trailer":            {"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "hello"},
		"trailers":             {"0\r\nX-Sum:1\r\nServer-Timing: \r\nx!y:\t\xe3\x81\x82\r\n\r\n", ""},
		"a long trailer":       {"0\r\nX-Forwarded-For-Somebody-With-A-Very-Long-Name: a\r\n\r\n", ""},
		"a trailer like If-":   {"0\r\nIf: a\r\nIffy: b\r\nContent-Typ: c\r\n\r\n", ""},
		"a chunk of 64 KB":     {"10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n0\r\n\r\n", strings.Repeat("x", 1<<16)},
		"many chunks of one":   {strings.Repeat("1\r\nx\r\n", 5000) + "0\r\n\r\n", strings.Repeat("x", 5000)},
		"trailers up to 4 KiB": {"0\r\nX: " + strings.Repeat("a", maxTrailers-7) + "\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 2, 3, 7, 4096, 1 << 20} {
				data, n, done, err := decode([]byte(tt.wire+"HTTP/1.1"), piece, false)
				if !done || err != nil || n != len(tt.wire) || string(data) != tt.data {
					t.Errorf("in pieces of %d: %d bytes of %d, done %v, %v, %.100q", piece, n, len(tt.wire), done, err, data)
				}
			}
		})
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		wire string
		want error
	}{
		"no size":                    {"\r\nhello\r\n0\r\n\r\n", ErrChunk},
		"no size but an extension":   {";a\r\n", ErrChunk},
		"a size that is no number":   {"x\r\n", ErrChunk},
		"0x":                         {"0x5\r\n", ErrChunk},
		"a signed size":              {"+5\r\n", ErrChunk},
		"a negative size":            {"-5\r\n", ErrChunk},
		"an underscore":              {"1_0\r\n", ErrChunk},
		"a size beyond all numbers":  {"1000000000000000\r\n", ErrChunk},
		"a size of many zeros":       {"0000000000000000\r\n", ErrChunk},
		"a space before":             {" 5\r\n", ErrChunk},
		"a space behind":             {"5 \r\n", ErrChunk},
		"a space before the ;":       {"5 ;a\r\n", ErrChunk},
		"a tab behind":               {"5\t\r\n", ErrChunk},
		"a bare LF":                  {"5\nhello\r\n", ErrChunk},
		"a bare CR":                  {"5\rhello\r\n", ErrChunk},
		"two CR":                     {"5\r\r\nhello", ErrChunk},
		"a bare LF in an extension":  {"5;a\nhello\r\n", ErrChunk},
		"a bare CR in an extension":  {"5;a\rb\r\n", ErrChunk},
		"NUL in an extension":        {"5;a\x00\r\n", ErrChunk},
		"an empty extension":         {"5;\r\n", ErrChunk},
		"an extension without value": {"5;a=\r\n", ErrChunk},
		"an open string":             {"5;a=\"b\r\n", ErrChunk},
		"more behind a string":       {"5;a=\"b\"c\r\n", ErrChunk},
		"a line end that is escaped": {"5;a=\"b\\\r\n", ErrChunk},
		"a long extension":           {"5;" + strings.Repeat("a", maxSizeLine) + "\r\n", ErrChunk},
		"data that is too long":      {"5\r\nhello!\r\n", ErrChunk},
		"data that is too short":     {"5\r\nhell\r\n0\r\n\r\n", ErrChunk},
		"data that ends with LF":     {"5\r\nhello\n0\r\n\r\n", ErrChunk},
		"data that ends with CR":     {"5\r\nhello\r0\r\n\r\n", ErrChunk},
		"data with X for CR":         {"5\r\nhelloX\n0\r\n\r\n", ErrChunk},
		"data with X for LF":         {"5\r\nhello\rX0\r\n\r\n", ErrChunk},
		"NUL that is escaped":        {"5;a=\"\\\x00\"\r\nhello\r\n0\r\n\r\n", ErrChunk},
		"frames without data":        {strings.Repeat("1;"+strings.Repeat("a", 200)+"\r\nx\r\n", 100), ErrChunkExcess},
		"a trailer without a colon":  {"0\r\nX\r\n\r\n", ErrTrailer},
		"a trailer without a name":   {"0\r\n: a\r\n\r\n", ErrTrailer},
		"a trailer with a space":     {"0\r\nX : a\r\n\r\n", ErrTrailer},
		"a folded trailer":           {"0\r\nX: a\r\n b\r\n\r\n", ErrTrailer},
		"a trailer that ends in LF":  {"0\r\nX: a\n\r\n", ErrTrailer},
		"an end that is LF":          {"0\r\n\n", ErrTrailer},
		"an end that is CR":          {"0\r\n\rG", ErrTrailer},
		"NUL in a trailer":           {"0\r\nX: \x00\r\n\r\n", ErrTrailer},
		"a length as a trailer":      {"0\r\ncontent-LENGTH: 5\r\n\r\n", ErrForbiddenTrailer},
		"a coding as a trailer":      {"0\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ErrForbiddenTrailer},
		"a condition as a trailer":   {"0\r\nIf-Modified-Since-Who-Knows-How-Many-Years: a\r\n\r\n", ErrForbiddenTrailer},
		"too large trailers":         {"0\r\nX: " + strings.Repeat("a", maxTrailers) + "\r\n\r\n", ErrTrailersTooLarge},
		"too many trailers":          {"0\r\n" + strings.Repeat("X: a\r\n", maxTrailers) + "\r\n", ErrTrailersTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			for _, piece := range []int{1, 3, 1 << 20} {
				_, n, done, err := decode([]byte(tt.wire), piece, false)
				if err != tt.want || done {
					t.Errorf("in pieces of %d: %d bytes, done %v, %v", piece, n, done, err)
				}
			}
		})
	}
}

func TestAnErrorInChunksStays(t *testing.T) {
	var c Chunks
	for range 3 {
		if n, err := follow(&c, []byte("x")); n != 0 || err != ErrChunk || c.Done() {
			t.Error(n, err)
		}
	}
}

func TestABodyThatIsCutIsNotDone(t *testing.T) {
	wire := "5;a=\"b\"\r\nhello\r\n0\r\nX: y\r\n\r\n"
	for n := range len(wire) {
		if _, _, done, err := decode([]byte(wire[:n]), 1<<20, false); done || err != nil {
			t.Errorf("%q: done %v, %v", wire[:n], done, err)
		}
	}
}

func TestPaddedSizesAreBorneWithOnRequest(t *testing.T) {
	wire := []byte("5  \t \r\nhello\r\n0   \r\n\r\n")
	if data, n, done, err := decode(wire, 1, true); string(data) != "hello" || n != len(wire) || !done || err != nil {
		t.Error(string(data), n, done, err)
	}
	for _, wire := range []string{" 5\r\n", " \r\n\r\n", "5 5\r\n", "5 ;a\r\n", "5 \n"} {
		if _, _, _, err := decode([]byte(wire), 1, true); err != ErrChunk {
			t.Errorf("%q: %v", wire, err)
		}
	}
}

func TestTrailersAreToldFromWhatIsBeforeThem(t *testing.T) {
	const before, trailers = "5;a\r\nhello\r\n0;b\r\n", "X-Sum: 1\r\nContent-Length: 5\r\n\r\n"
	wire := []byte(before + trailers + "GET /")
	for piece := 1; piece <= len(wire); piece++ {
		c, got := Chunks{AnyTrailer: true}, ""
		for n := 0; n < len(wire) && !c.Done(); {
			trailing := c.Trailing()
			_, used, err := c.Next(wire[n:min(n+piece, len(wire))])
			if err != nil {
				t.Fatal(err)
			}
			if trailing {
				got += string(wire[n : n+used])
			}
			n += used
		}
		if got != trailers || !c.Done() || c.Trailing() {
			t.Errorf("in pieces of %d: %q", piece, got)
		}
	}
}

// Whoever reads no more than is due reads nothing of the next request.
func TestWhatIsDueBelongsToTheBody(t *testing.T) {
	wire := []byte("3\r\nabc\r\n000a\r\n0123456789\r\n0\r\nX: y\r\n\r\n")
	for piece := 1; piece <= len(wire); piece++ {
		var c Chunks
		for n := 0; n < len(wire); {
			if due := c.Due(); due < 0 || int(due) > len(wire)-n {
				t.Fatalf("%d bytes are due of %q", due, wire[n:])
			}
			_, used, err := c.Next(wire[n:min(n+piece, len(wire))])
			if err != nil {
				t.Fatal(err)
			}
			n += used
		}
		if c.Due() != 0 || !c.Done() {
			t.Errorf("at the end %d are due", c.Due())
		}
	}
	var c Chunks
	if _, err := follow(&c, []byte("1000\r\nx")); err != nil || c.Due() != 0xfff {
		t.Errorf("%d are due, %v", c.Due(), err)
	}
}
