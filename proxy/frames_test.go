package proxy

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// frameOf makes a frame; a length of n is written as it is, whatever the data.
func frameOf(first byte, masked bool, data string) []byte {
	b := []byte{first}
	mask := byte(0)
	if masked {
		mask = frameMasked
	}
	switch n := len(data); {
	case n <= maxControl:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|length16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|length64), uint64(n))
	}
	if masked {
		b = append(b, 1, 2, 3, 4)
	}
	return append(b, data...)
}

// frameEndsOf is the slow reference for [frames]: after which lengths of a prefix
// no frame is open, and from which length on nothing is known.
func frameEndsOf(b []byte, masked bool) (ends map[int]bool, lost int) {
	ends, lost = map[int]bool{0: true}, len(b)+1
	for at := 0; len(b)-at >= 2; {
		first, second := b[at], b[at+1]
		op := first & 0xf
		if !bytes.Contains([]byte{0, 1, 2, 8, 9, 10}, []byte{op}) || second&0x80 != 0 != masked ||
			op >= 8 && (first&0x80 == 0 || second&0x7f > 125) {
			return ends, at + 2
		}
		size, length := 2, uint64(second&0x7f)
		switch length {
		case 126:
			if size = 4; len(b)-at < size {
				return ends, lost
			}
			length = uint64(binary.BigEndian.Uint16(b[at+2:]))
		case 127:
			if size = 10; len(b)-at < size {
				return ends, lost
			}
			if length = binary.BigEndian.Uint64(b[at+2:]); length>>63 != 0 {
				return ends, at + size
			}
		}
		if masked {
			size += 4
		}
		if length > uint64(len(b)) || at+size+int(length) > len(b) {
			return ends, lost
		}
		at += size + int(length)
		ends[at] = true
	}
	return ends, lost
}

// Every split gives the same ends of frames, and they are the reference's.
func FuzzWhereAFrameEnds(f *testing.F) {
	for _, masked := range []bool{false, true} {
		f.Add(bytes.Join([][]byte{frameOf(0x81, masked, "text"), frameOf(0x02, masked, ""), frameOf(0x89, masked, "ping"), frameOf(0x80, masked, "end")}, nil), masked, uint64(0b101101))
		f.Add(append(frameOf(0xc1, masked, string(make([]byte, 200))), appendClose(nil, masked, 1012, "why")...), masked, uint64(1<<40))
		f.Add(frameOf(0x83, masked, "reserved"), masked, uint64(3))
		f.Add([]byte{0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0}, false, uint64(0))
		f.Add(frameOf(0x08, masked, "unfinished control"), masked, ^uint64(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, masked bool, splits uint64) {
		if len(b) > 256 {
			return
		}
		ends, lost := frameEndsOf(b, masked)
		tracker := frames{masked: masked}
		for from := 0; from < len(b); {
			to := from + 1
			for to < len(b) && splits>>(to%64)&1 == 0 {
				to++
			}
			for n := from; n < to; {
				k := tracker.next(b[n:to])
				if n += k; k == 0 {
					t.Fatalf("%x: no step at %d", b, n)
				}
				if tracker.between() != ends[n] {
					t.Fatalf("%x: between %v after %d bytes", b, tracker.between(), n)
				}
				if tracker.lost != (n >= lost) {
					t.Fatalf("%x: lost %v after %d bytes", b, tracker.lost, n)
				}
			}
			from = to
		}
	})
}

func TestACloseIsKnownByItsFirstByteAndRemembered(t *testing.T) {
	var f frames
	f.scan(frameOf(0x01, false, "a fragment"))
	closing := appendClose(nil, false, closeRestart, closeReason)
	if !f.begins(closing[0]) || f.begins(0x81) {
		t.Error("a Close is not told from a text")
	}
	f.scan(closing)
	if !f.closed || !f.between() {
		t.Errorf("after a Close: closed %v, between %v", f.closed, f.between())
	}
}
