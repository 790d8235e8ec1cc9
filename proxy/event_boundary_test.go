package proxy

import (
	"strings"
	"testing"
)

// endsOf is the slow reference for [events]: every length of a prefix of s after
// which a stream may end, found by splitting the whole prefix into lines.
func endsOf(s string) map[int]bool {
	ends := map[int]bool{}
	for n := 0; n <= len(s); n++ {
		if mayEndAfter(s[:n]) {
			ends[n] = true
		}
	}
	return ends
}

func mayEndAfter(s string) bool {
	type line struct{ text, end string }
	var lines []line
	for s != "" {
		i := strings.IndexAny(s, "\r\n")
		if i < 0 {
			return false // in the middle of a line
		}
		end := s[i : i+1]
		if strings.HasPrefix(s[i:], "\r\n") {
			end = "\r\n"
		}
		lines, s = append(lines, line{s[:i], end}), s[i+len(end):]
	}
	open := false
	for _, l := range lines {
		open = l.text != "" && (open || l.text[0] != ':') || open && l.text != ""
	}
	if open || len(lines) == 0 {
		return !open
	}
	last := lines[len(lines)-1]
	if last.end != "\r" {
		return true
	}
	return last.text == "" && len(lines) > 1 && lines[len(lines)-2].end == "\r"
}

func TestAnEventStreamMayEndBetweenTwoEvents(t *testing.T) {
	for s, want := range map[string]bool{
		"":                         true,
		"data":                     false,
		"data: 1\n":                false,
		"data: 1\n\n":              true,
		"data: 1\n\n\n":            true,
		"data: 1\n\nd":             false,
		"data: 1\r\n\r\n":          true,
		"data: 1\r\n\r":            false, // its LF is on its way
		"data: 1\r\r":              true,
		"data: 1\r\r\n":            true, // the CRLF is one more blank line
		"data: 1\r\n\n":            true,
		"data: 1\n\r\n":            true,
		"data: 1\r":                false,
		"id: 7\ndata: 1\n":         false,
		": heartbeat\n":            true,
		": heartbeat":              false,
		"data: 1\n: heartbeat\n":   false,
		"data: 1\n: heartbeat\n\n": true,
		"retry: 1000\n":            false,
		"\ufeffdata: 1\n\n":        true,
	} {
		var e events
		e.scan([]byte(s))
		if e.between() != want || mayEndAfter(s) != want {
			t.Errorf("%q: %v, by the reference %v, want %v", s, e.between(), mayEndAfter(s), want)
		}
	}
}

// Every split of a stream gives the same ends, and they are the reference's.
func FuzzWhereAnEventStreamMayEnd(f *testing.F) {
	for _, s := range []string{"", "data: 1\n\ndata: 2\r\n\r\n:x\rdata\r\r", "\r\n\r\r\n\n:\n:\r\r", "id: 1\ndata: a\n\n"} {
		f.Add(s, uint64(0b1011011101))
	}
	f.Fuzz(func(t *testing.T, s string, splits uint64) {
		if len(s) > 64 {
			return
		}
		want := endsOf(s)
		var e events
		for from := 0; from < len(s); {
			to := from + 1
			for to < len(s) && splits>>to&1 == 0 {
				to++
			}
			last := e.scan([]byte(s[from:to]))
			if e.between() != want[to] {
				t.Fatalf("%q: between %v after %q", s, e.between(), s[:to])
			}
			ref := -1
			for n := from + 1; n <= to; n++ {
				if want[n] {
					ref = n - from
				}
			}
			if last != ref {
				t.Fatalf("%q: in %q the last end is %d, want %d", s, s[from:to], last, ref)
			}
			from = to
		}
	})
}

func TestFollowingAStreamAllocatesNothing(t *testing.T) {
	b := []byte(strings.Repeat("id: 1\ndata: some text that is long enough\n\n", 100))
	frame := appendClose(nil, false, closeRestart, closeReason)
	if n := testing.AllocsPerRun(10, func() {
		var e events
		e.scan(b)
		var f frames
		f.scan(frame)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkFollowingEvents(b *testing.B) {
	s := []byte(strings.Repeat("id: 1\nevent: tick\ndata: {\"text\": \"some text that is long enough\"}\n\n", 20))
	b.SetBytes(int64(len(s)))
	var e events
	for b.Loop() {
		e.scan(s)
	}
}
