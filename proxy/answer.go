package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// readAnswer reads an answer's head and prepares its body. It takes what
// [http.ReadResponse] takes and, unlike it, leaves fields alone that are not
// about framing: ReadResponse deletes Connection where it says close, so that
// the fields named beside it would pass for end-to-end ones, and it adds
// Cache-Control to Pragma.
func readAnswer(c *slotConn, req *http.Request) (*http.Response, error) {
	tp := textproto.NewReader(c.br)
	line, err := tp.ReadLine()
	if err != nil {
		return nil, err
	}
	res := &http.Response{Request: req}
	if err := parseStatusLine(res, line); err != nil {
		return nil, err
	}
	fields, err := tp.ReadMIMEHeader()
	if err != nil {
		return nil, err
	}
	res.Header = http.Header(fields)
	res.Close = saysClose(res)
	return res, frameAnswer(res, c)
}

// parseStatusLine reads RFC 9112, section 4. A missing reason, also with its
// space, is borne with.
func parseStatusLine(res *http.Response, line string) error {
	proto, status, _ := strings.Cut(line, " ")
	var ok bool
	res.Proto, res.Status = proto, strings.TrimLeft(status, " ")
	res.ProtoMajor, res.ProtoMinor, ok = http.ParseHTTPVersion(proto)
	code, _, _ := strings.Cut(res.Status, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if !ok || res.ProtoMajor != 1 || err != nil || len(code) != 3 || n < 100 {
		return fmt.Errorf("status line %q is not valid", clip(line))
	}
	res.StatusCode = int(n)
	return nil
}

// clip shortens what a slot said to what fits into a log line.
func clip(s string) string { return s[:min(len(s), 100)] }

// saysClose reports whether the connection ends with the answer (RFC 9112,
// section 9.3).
func saysClose(res *http.Response) bool {
	options := res.Header["Connection"]
	if httpguts.HeaderValuesContainsToken(options, "close") {
		return true
	}
	return !res.ProtoAtLeast(1, 1) && !httpguts.HeaderValuesContainsToken(options, "keep-alive")
}

// frameAnswer is RFC 9112, section 6.3: where the body ends.
func frameAnswer(res *http.Response, c *slotConn) error {
	isChunked, err := takeTransferEncoding(res)
	if err != nil {
		return err
	}
	length, err := contentLength(res.Header)
	if err != nil {
		return err
	}
	if isChunked {
		if length >= 0 { // then too
			delete(res.Header, "Content-Length")
			res.Close, length = true, -1
		}
		res.TransferEncoding = []string{"chunked"}
		takeTrailerNames(res)
	}
	res.ContentLength = length
	switch {
	case neverHasBody(res.StatusCode):
		res.ContentLength, res.Body = 0, http.NoBody
	case res.Request.Method == http.MethodHead, length == 0:
		res.Body = http.NoBody
	case isChunked:
		res.Body = io.NopCloser(&chunkedBody{res: res, c: c, src: httputil.NewChunkedReader(c.br)})
	case length > 0:
		res.Body = io.NopCloser(&sizedBody{br: c.br, left: length})
	default:
		res.Close = true
		res.Body = io.NopCloser(c.br)
	}
	return nil
}

func neverHasBody(status int) bool {
	return status < 200 || status == http.StatusNoContent || status == http.StatusNotModified
}

// takeTransferEncoding reports whether the body is chunked, the only coding
// that there is. HTTP/1.0 has none: who sends it there may have lost count, and
// the connection is not used again (RFC 9112, section 6.1).
func takeTransferEncoding(res *http.Response) (bool, error) {
	codings, ok := res.Header["Transfer-Encoding"]
	if !ok {
		return false, nil
	}
	delete(res.Header, "Transfer-Encoding")
	if !res.ProtoAtLeast(1, 1) {
		res.Close = true
		return false, nil
	}
	// Of the same length, so that no letter beyond ASCII passes for one of its own.
	if len(codings) != 1 || len(codings[0]) != len("chunked") || !strings.EqualFold(codings[0], "chunked") {
		return false, fmt.Errorf("transfer coding %q is not known", clip(strings.Join(codings, ", ")))
	}
	return true, nil
}

// contentLength returns the length that the header gives, -1 if it gives none.
// Several must agree, and are made one.
func contentLength(h http.Header) (int64, error) {
	lengths, ok := h["Content-Length"]
	if !ok {
		return -1, nil
	}
	for _, l := range lengths {
		if l != lengths[0] {
			return 0, errors.New("several lengths that differ")
		}
	}
	h["Content-Length"] = lengths[:1]
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if err != nil {
		return 0, fmt.Errorf("length %q is not valid", clip(lengths[0]))
	}
	return int64(n), nil
}

// takeTrailerNames turns the Trailer field into the keys of res.Trailer.
func takeTrailerNames(res *http.Response) {
	for _, line := range res.Header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(textproto.TrimString(name))
			if name == "" || !trailerAllowed(name) {
				continue
			}
			if res.Trailer == nil {
				res.Trailer = http.Header{}
			}
			res.Trailer[name] = nil
		}
	}
	delete(res.Header, "Trailer")
}

// sizedBody is a body of known length.
type sizedBody struct {
	br   *bufio.Reader
	left int64
}

func (b *sizedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.br.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		return n, io.EOF
	case err == io.EOF:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// chunkedBody is a body in chunks with its trailers.
type chunkedBody struct {
	res *http.Response
	c   *slotConn
	src io.Reader
}

func (b *chunkedBody) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if err == io.EOF {
		err = b.readTrailers()
	}
	return n, err
}

// readTrailers reads what follows the last chunk and returns io.EOF if it is
// whole.
func (b *chunkedBody) readTrailers() error {
	b.c.headLeft = maxHead
	section, err := readTrailerSection(b.c.br)
	b.c.headLeft = -1
	if err != nil {
		return err
	}
	if len(section) == len("\r\n") {
		return io.EOF
	}
	fields, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(section))).ReadMIMEHeader()
	if err != nil {
		return err
	}
	for name, values := range fields {
		if !trailerAllowed(name) {
			continue
		}
		if b.res.Trailer == nil {
			b.res.Trailer = http.Header{}
		}
		b.res.Trailer[name] = values
	}
	return io.EOF
}

// readTrailerSection reads up to and with the empty line. Every line ends with
// CRLF (RFC 9112 section 7.1.2): where one of two parsers takes a lone LF for an
// end, they disagree on where the next answer begins.
func readTrailerSection(br *bufio.Reader) ([]byte, error) {
	var section []byte
	for {
		line, err := br.ReadBytes('\n')
		switch section = append(section, line...); {
		case err == io.EOF:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		case !bytes.HasSuffix(line, []byte("\r\n")):
			return nil, errors.New("a line of the trailers ends without CR")
		case len(line) == len("\r\n"):
			return section, nil
		}
	}
}
