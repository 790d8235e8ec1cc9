package http1

import (
	"encoding/binary"
	"math/bits"
)

// What a byte may be part of.
const (
	isPlainName = 1 << iota // a field's name, letters, digits and hyphens only
	isToken                 // RFC 9110, section 5.6.2
	isTarget                // a target's path or query; not the percent sign, "?" and "#"
	isHost                  // a host with its port
	isHex
	isQuoted // within a quoted string, unescaped (RFC 9110, section 5.6.4)
	isVisible
)

// classes tells what each byte may be part of, lower has the byte in lower case.
var classes, lower = classify()

func classify() (classes, lower [256]uint8) {
	for i := range 256 {
		c := byte(i)
		letter, digit := 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9'
		set := func(class uint8, in bool) {
			if in {
				classes[i] |= class
			}
		}
		set(isPlainName, letter || digit || c == '-')
		set(isToken, letter || digit || in(c, "!#$%&'*+-.^_`|~"))
		set(isTarget, '!' <= c && c <= '~' && !in(c, "%?#"))
		set(isHost, letter || digit || in(c, ".-:[]_"))
		set(isHex, digit || 'a' <= c|0x20 && c|0x20 <= 'f')
		set(isQuoted, c == '\t' || c >= ' ' && c != 0x7f && !in(c, `"\`))
		set(isVisible, c == '\t' || c >= ' ' && c != 0x7f)
		lower[i] = c
		if 'A' <= c && c <= 'Z' {
			lower[i] = c | 0x20
		}
	}
	return classes, lower
}

func in(c byte, set string) bool {
	for i := range len(set) {
		if set[i] == c {
			return true
		}
	}
	return false
}

// skip returns where b, from i on, has its first byte outside of the class.
func skip(b []byte, i int, class uint8) int {
	for i < len(b) && classes[b[i]]&class != 0 {
		i++
	}
	return i
}

// nextControl returns where b, from i on, has its first control character,
// which is where a line ends if it is a good one. It looks at eight bytes at a
// time: a borrow runs only towards the later bytes, so the first mark is true.
func nextControl(b []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; len(b)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		del := x ^ 0x7f*ones
		if marks := ((x-0x20*ones)&^x | (del-ones)&^del) & highs; marks != 0 {
			return i + bits.TrailingZeros64(marks)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != 0x7f {
		i++
	}
	return i
}

// isSpace is OWS (RFC 9110, section 5.6.3).
func isSpace(c byte) bool { return c == ' ' || c == '\t' }

func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold reports whether b is want, which is in lower case. Only ASCII has
// two cases here.
func equalFold(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i, c := range b {
		if lower[c] != want[i] {
			return false
		}
	}
	return true
}

// sameFold is equalFold for two that may be in any case.
func sameFold(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if lower[c] != lower[b[i]] {
			return false
		}
	}
	return true
}

// hasPrefixFold is equalFold for what b begins with.
func hasPrefixFold(b []byte, want string) bool {
	return len(b) >= len(want) && equalFold(b[:len(want)], want)
}

// cutToken takes the first element off a comma-separated list (RFC 9110,
// section 5.6.1). It may be empty.
func cutToken(list []byte) (token, rest []byte) {
	for i, c := range list {
		if c == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), nil
}

// parseLength reads a Content-Length of RFC 9110, section 8.6, that fits into
// 63 bits.
func parseLength(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' || n > (1<<63-1)/10 {
			return 0, false
		}
		if n = n*10 + uint64(c-'0'); n > 1<<63-1 {
			return 0, false
		}
	}
	return int64(n), true
}
