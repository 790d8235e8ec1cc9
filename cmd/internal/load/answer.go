package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxHead bounds the bytes of one answer's head or trailer section.
const maxHead = 64 << 10

// head is what matters of an answer's head.
type head struct {
	status  int
	length  int64 // -1: chunked
	close   bool
	framed  bool // Content-Length or chunked was there
	chunked bool
}

// readAnswer reads one final answer, skipping 1xx ones, and appends its body to
// body. It is stricter than RFC 9112 asks of a recipient: lines end in CRLF,
// nothing is folded, and a body has one length and only one, because an answer
// that ends with its connection cannot be told from one cut short.
func readAnswer(r *bufio.Reader, body []byte) (head, []byte, error) {
	for {
		h, err := readHead(r)
		if err != nil {
			return h, body, err
		}
		if h.status >= 100 && h.status < 200 {
			continue
		}
		switch {
		case h.status == 204 || h.status == 304:
			return h, body, nil
		case !h.framed:
			return h, body, malformed("an answer without length")
		case h.chunked:
			body, err = readChunks(r, body)
		default:
			body, err = readExactly(r, body, h.length)
		}
		return h, body, err
	}
}

func readHead(r *bufio.Reader) (head, error) {
	line, err := readLine(r)
	if err != nil {
		return head{}, fmt.Errorf("reading the status line: %w", err)
	}
	status, ok := parseStatus(line)
	if !ok {
		return head{}, malformed("status line %.100q", line)
	}
	h := head{status: status}
	for size := 0; size < maxHead; {
		line, err := readLine(r)
		if err != nil {
			return h, fmt.Errorf("reading the head: %w", err)
		}
		if len(line) == 0 {
			return h, nil
		}
		if err := h.field(line); err != nil {
			return h, err
		}
		size += len(line)
	}
	return h, malformed("a head of more than %d bytes", maxHead)
}

func parseStatus(line []byte) (int, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(rest) < 4 || rest[3] != ' ' {
		return 0, false
	}
	status, err := strconv.ParseUint(string(rest[:3]), 10, 16)
	return int(status), err == nil && status >= 100
}

// field takes one header line.
func (h *head) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || !isToken(name) {
		return malformed("header line %.100q", line)
	}
	value = bytes.Trim(value, " \t")
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseUint(string(value), 10, 62)
		if err != nil || h.framed {
			return malformed("header line %.100q", line)
		}
		h.framed, h.length = true, int64(n)
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if !bytes.EqualFold(value, []byte("chunked")) || h.framed {
			return malformed("header line %.100q", line)
		}
		h.framed, h.chunked, h.length = true, true, -1
	case bytes.EqualFold(name, []byte("Connection")):
		h.close = h.close || listed(string(value), "close")
	}
	return nil
}

// isToken says whether b is a token (RFC 9110, section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		alphanumeric := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return len(b) > 0
}

// listed says whether a comma-separated list holds the option.
func listed(list, option string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(part, " \t"), option) {
			return true
		}
	}
	return false
}

func readChunks(r *bufio.Reader, body []byte) ([]byte, error) {
	for {
		line, err := readLine(r)
		if err != nil {
			return body, fmt.Errorf("reading a chunk size: %w", err)
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return body, malformed("chunk size %.100q", line)
		}
		if size == 0 {
			return body, readTrailers(r)
		}
		if body, err = readExactly(r, body, int64(size)); err != nil {
			return body, err
		}
		if line, err = readLine(r); err != nil || len(line) > 0 {
			return body, errors.Join(malformed("a chunk longer than its size"), err)
		}
	}
}

func readTrailers(r *bufio.Reader) error {
	for size := 0; size < maxHead; {
		line, err := readLine(r)
		if err != nil {
			return fmt.Errorf("reading the trailers: %w", err)
		}
		if len(line) == 0 {
			return nil
		}
		size += len(line)
	}
	return malformed("trailers of more than %d bytes", maxHead)
}

// readLine returns one line without its CRLF, valid until the next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, kinded(Reset, unexpected(err))
	}
	line, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok {
		return nil, malformed("a line that ends in a bare LF")
	}
	return line, nil
}

func readExactly(r *bufio.Reader, body []byte, n int64) ([]byte, error) {
	start := len(body)
	body = append(body, make([]byte, n)...)
	got, err := io.ReadFull(r, body[start:])
	if err != nil {
		return body[:start+got], kinded(Reset, fmt.Errorf("%d of %d bytes of the body: %w", got, n, unexpected(err)))
	}
	return body, nil
}

// unexpected makes an end of the connection within an answer say so.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func malformed(format string, args ...any) error {
	return kinded(Malformed, fmt.Errorf("malformed answer: "+format, args...))
}
