package switcher

import (
	"math/rand/v2"
	"time"
)

// idDigits is Crockford's base 32: lower case, in the order of their bytes,
// without the letters that are taken for digits or misheard for others.
const idDigits = "0123456789abcdefghjkmnpqrstvwxyz"

// ids makes names of operations such as 1mh3-k2d8-7fq: forty bits of time in
// ticks of 1/32 second and fifteen random ones. They sort by time, in one
// process strictly, and are short enough to be read aloud.
type ids struct{ last uint64 }

func (s *ids) next(now time.Time) string {
	ticks := uint64(now.UnixNano()) / uint64(time.Second/32)
	s.last = max(ticks<<15|rand.Uint64N(1<<15), s.last+1)
	return encodeID(s.last)
}

func encodeID(n uint64) string {
	text := []byte("0000-0000-000")
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] != '-' {
			text[i] = idDigits[n&31]
			n >>= 5
		}
	}
	return string(text)
}
