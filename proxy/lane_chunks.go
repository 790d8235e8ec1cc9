package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"slices"

	"charactier-proxy/proxy/http1"
)

// reframe makes one chunk of the data among the n bytes of b that lie behind the
// room for a chunk's head, in place, and adds the body's end when it is there: to
// the slot goes our framing, whatever the client's was. It returns the chunk and
// the size of its data, and keeps in u.rest what lies behind the body.
func (u *laneUpload) reframe(b []byte, n int) (framed []byte, size int, err error) {
	raw := b[chunkHeadRoom : chunkHeadRoom+n]
	start, pos := 0, 0
	for pos < n && !u.chunks.Done() {
		trailing := u.chunks.Trailing()
		data, used, err := u.chunks.Next(raw[pos:])
		if err != nil {
			return nil, 0, err
		}
		switch {
		case trailing:
			u.trailers = append(u.trailers, raw[pos:pos+used]...)
		case size == 0:
			start, size = pos+used-len(data), len(data)
		default:
			size += copy(raw[start+size:], data)
		}
		pos += used
	}
	u.rest = raw[pos:]
	framed = b[:0]
	if size > 0 {
		framed = frameChunk(b[start:], size)
	}
	if u.chunks.Done() {
		framed, err = u.appendEnd(framed)
	}
	return framed, size, err
}

const lastChunkAlone = "0\r\n\r\n"

// appendEnd appends the end of the body, with the trailers that may pass. Without
// any it needs no more room than the end had as it came, so that what lies behind
// that is left alone.
func (u *laneUpload) appendEnd(dst []byte) ([]byte, error) {
	if len(u.trailers) == len("\r\n") {
		return append(dst, lastChunkAlone...), nil
	}
	fields, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(u.trailers))).ReadMIMEHeader()
	if err != nil {
		return nil, http1.ErrTrailer
	}
	trailer := http.Header(fields)
	dropForbiddenTrailers(trailer)
	last, err := lastChunk(trailer)
	return append(slices.Clip(dst), last...), err
}
