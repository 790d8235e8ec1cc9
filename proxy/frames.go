package proxy

import "encoding/binary"

// frames follows one direction of a WebSocket (RFC 6455, section 5.2), in pieces
// of any size, to tell where a frame ends. Of a frame it looks at the head only,
// so what an extension does to the rest is no concern of it. The zero value is at
// the start, where it is between two frames.
type frames struct {
	masked bool // as a client's must be, and a server's must not

	head   [maxFrameHead]byte
	have   int    // bytes of a head that is not complete
	left   uint64 // bytes of the frame that are to come, its mask included
	lost   bool   // a head made no sense: from there on nothing is known
	closed bool   // a Close frame has begun, the last of this direction
}

const (
	maxFrameHead = 10 // without the mask
	maskLen      = 4
	frameFinal   = 0x80
	frameMasked  = 0x80
	opcodeBits   = 0x0f
	dataBits     = 0x07 // of an opcode, without the bit of control frames
	lastData     = 2    // the opcodes above it are reserved, of both kinds
	lengthBits   = 0x7f
	opClose      = 0x8
	maxControl   = 125 // bytes that a control frame may hold
	length16     = 126
	length64     = 127
)

// between reports whether no frame has begun that is not complete.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 && !f.lost }

// next follows b up to the end of the frame that it begins in, and returns how
// much that is.
func (f *frames) next(b []byte) int {
	n := 0
	for f.left == 0 && n < len(b) && !f.lost {
		f.head[f.have] = b[n]
		f.have++
		n++
		if f.takeHead(); f.between() {
			return n // a frame of nothing but its head
		}
	}
	if f.lost {
		return len(b)
	}
	k := min(f.left, uint64(len(b)-n))
	f.left -= k
	return n + int(k)
}

// scan follows all of b.
func (f *frames) scan(b []byte) {
	for len(b) > 0 {
		b = b[f.next(b):]
	}
}

// begins reports whether what comes next, beginning with the byte c, is a Close.
func (f *frames) begins(c byte) bool { return f.between() && c&opcodeBits == opClose }

// takeHead reads the head if it is complete.
func (f *frames) takeHead() {
	if f.have < 2 {
		return
	}
	length, size := uint64(f.head[1]&lengthBits), 2
	switch length {
	case length16:
		size = 4
	case length64:
		size = maxFrameHead
	}
	if f.lost = f.isNonsense(); f.lost || f.have < size {
		return
	}
	switch size {
	case 4:
		length = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case maxFrameHead:
		length = binary.BigEndian.Uint64(f.head[2:])
	}
	if f.lost = length>>63 != 0; f.lost {
		return
	}
	if f.left = length; f.masked {
		f.left += maskLen
	}
	f.have = 0
	f.closed = f.closed || f.head[0]&opcodeBits == opClose
}

// isNonsense judges the first two bytes of a head. Which of the reserved bits
// mean something is between the two that talk.
func (f *frames) isNonsense() bool {
	op := f.head[0] & opcodeBits
	control := op >= opClose
	return op&dataBits > lastData || f.head[1]&frameMasked != 0 != f.masked ||
		control && (f.head[0]&frameFinal == 0 || f.head[1]&lengthBits > maxControl)
}

// appendClose appends a Close frame, masked if it is a client's. The mask is
// there to keep what a page sends from looking like something else to those in
// between; of what we say that need not be feared, so it is zero.
func appendClose(b []byte, masked bool, code uint16, reason string) []byte {
	size := byte(2 + len(reason))
	if masked {
		b = append(b, frameFinal|opClose, frameMasked|size, 0, 0, 0, 0)
	} else {
		b = append(b, frameFinal|opClose, size)
	}
	return append(binary.BigEndian.AppendUint16(b, code), reason...)
}
