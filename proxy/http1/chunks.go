package http1

import "errors"

const (
	// maxSizeDigits keeps a chunk's size within 60 bits.
	maxSizeDigits = 15
	// maxSizeLine bounds a chunk's size with its extensions.
	maxSizeLine = 256
	// maxExcess bounds by how much a body's frames may outweigh its data: beyond
	// twice the data and 16 bytes for each chunk. net/http has the same.
	maxExcess = 16 << 10
	// maxTrailers bounds the trailer section. net/http has the same.
	maxTrailers = 4 << 10
)

// The ways in which a body in chunks can be wrong.
var (
	ErrChunk            = errors.New("the chunks are malformed")
	ErrChunkExcess      = errors.New("the chunks hold too much that is not data")
	ErrTrailer          = errors.New("the trailers are malformed")
	ErrTrailersTooLarge = errors.New("the trailers are too large")
	ErrForbiddenTrailer = errors.New("the trailers have a field that must not be there")
)

// Chunks follows a body in chunks (RFC 9112, section 7.1) as it comes, in pieces
// of any size, to tell its data from its frame and where it ends. It takes
// extensions and trailers, but nothing of bad syntax: what went through it may be
// passed on byte for byte. The zero value is at the start of a body.
type Chunks struct {
	// Padded bears with space between a chunk's size and the end of its line, as
	// some old servers have it.
	Padded bool
	// AnyTrailer takes trailers that must not be there too: for those who look at
	// trailers before they pass them on.
	AnyTrailer bool

	state  chunkState
	err    error
	left   int64 // data of this chunk that is to come
	size   int64 // of this chunk
	digits int
	line   int   // bytes of this size line
	excess int64 // see maxExcess

	trailers int // bytes of the trailer section
	name     [longestName]byte
	named    int // bytes of this trailer's name
}

// longestName is more than any forbidden field has.
const longestName = 32

type chunkState uint8

const (
	atSize chunkState = iota
	inSize
	inPadding
	atExtension // its name is due
	inExtension
	atExtensionValue
	inExtensionValue
	inQuoted
	inQuotedPair
	afterQuoted
	atSizeLF
	inData
	atDataCR
	atDataLF
	atTrailer
	inTrailerName
	inTrailerValue
	atTrailerLF
	atLastLF
	atEnd
)

// Done reports whether the body is complete.
func (c *Chunks) Done() bool { return c.state == atEnd }

// Trailing reports whether what comes next, up to the body's end, are trailers
// and the empty line behind them.
func (c *Chunks) Trailing() bool { return c.state >= atTrailer && c.state < atEnd }

// Between reports whether the data of a chunk is complete, or of none has begun,
// and nothing of the next is there; due is how much of its line end is still to
// come.
func (c *Chunks) Between() (due int, ok bool) {
	switch c.state {
	case atDataCR:
		return len("\r\n"), true
	case atDataLF:
		return len("\n"), true
	case atSize:
		return 0, true
	}
	return 0, false
}

// Due returns how many bytes are still to come of the body, as far as that is
// known. There may be more.
func (c *Chunks) Due() int64 { return c.left }

// Next returns the first piece of data in b and the number of bytes up to its
// end. Without data it is what b has of the frame, up to where the trailers begin
// or the body ends at most.
func (c *Chunks) Next(b []byte) (data []byte, used int, err error) {
	for i := 0; i < len(b) && c.err == nil; i++ {
		switch c.state {
		case atEnd:
			return nil, i, nil
		case inData:
			end := i + int(min(int64(len(b)-i), c.left))
			if c.left -= int64(end - i); c.left == 0 {
				c.state = atDataCR
			}
			return b[i:end], end, nil
		}
		trailing := c.Trailing()
		if trailing {
			c.stepTrailer(b[i])
		} else {
			c.step(b[i])
		}
		switch {
		case c.err != nil:
			return nil, i, c.err
		case c.Trailing() && !trailing:
			return nil, i + 1, nil
		}
	}
	if c.err != nil {
		return nil, 0, c.err
	}
	return nil, len(b), nil
}

// to goes on in another state if ok, and gives up otherwise.
func (c *Chunks) to(s chunkState, ok bool) {
	if c.state = s; !ok {
		c.err = ErrChunk
	}
}

// step takes one byte of a chunk's frame.
func (c *Chunks) step(b byte) {
	switch c.state {
	case atDataCR:
		c.to(atDataLF, b == '\r')
		return
	case atDataLF:
		c.to(atSize, b == '\n')
		return
	case atSizeLF:
		c.to(atSize, b == '\n')
		c.beginData()
		return
	case atSize:
		c.size, c.digits, c.line = 0, 0, 0
		c.state = inSize
	}
	if c.line++; c.line > maxSizeLine {
		c.err = ErrChunk
		return
	}
	if c.state == inSize && classes[b]&isHex != 0 {
		c.addDigit(b)
		return
	}
	c.stepLine(b)
}

func (c *Chunks) addDigit(b byte) {
	if c.digits++; c.digits > maxSizeDigits {
		c.err = ErrChunk
		return
	}
	v := b - '0'
	if b > '9' {
		v = b | 0x20 - 'a' + 10
	}
	c.size = c.size<<4 | int64(v)
}

// stepLine takes one byte of a size line behind the size (RFC 9112, section
// 7.1.1). There is no space around semicolon and equals sign.
func (c *Chunks) stepLine(b byte) {
	token, ends := classes[b]&isToken != 0, b == '\r' || b == ';'
	switch c.state {
	case inSize:
		if c.Padded && isSpace(b) {
			c.to(inPadding, c.digits > 0)
			return
		}
		c.endPart(b, c.digits > 0 && ends)
	case inPadding:
		if !isSpace(b) {
			c.endPart(b, b == '\r')
		}
	case atExtension:
		c.to(inExtension, token)
	case inExtension:
		switch {
		case token:
		case b == '=':
			c.state = atExtensionValue
		default:
			c.endPart(b, ends)
		}
	case atExtensionValue:
		if b == '"' {
			c.state = inQuoted
			return
		}
		c.to(inExtensionValue, token)
	case inExtensionValue:
		if !token {
			c.endPart(b, ends)
		}
	case inQuoted:
		switch b {
		case '"':
			c.state = afterQuoted
		case '\\':
			c.state = inQuotedPair
		default:
			c.to(inQuoted, classes[b]&isQuoted != 0)
		}
	case inQuotedPair:
		c.to(inQuoted, classes[b]&isVisible != 0)
	case afterQuoted:
		c.endPart(b, ends)
	}
}

// endPart goes on behind a size or an extension, with the line's end or with the
// next extension.
func (c *Chunks) endPart(b byte, ok bool) {
	if b == '\r' {
		c.to(atSizeLF, ok)
		return
	}
	c.to(atExtension, ok)
}

// beginData is the end of a size line.
func (c *Chunks) beginData() {
	if c.err != nil {
		return
	}
	// The line was counted with its CR; net/http counts neither that nor the LF,
	// but the line end behind the data.
	c.excess = max(0, c.excess+int64(c.line)+1-16-2*c.size)
	switch c.left = c.size; {
	case c.excess > maxExcess:
		c.err = ErrChunkExcess
	case c.size == 0:
		c.state = atTrailer
	default:
		c.state = inData
	}
}
