package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// framing is how a request's body is delimited on the wire (RFC 9112, section
// 6).
type framing int

const (
	noBody framing = iota
	sized
	chunked
)

// bodyFraming reads net/http's rules for outgoing requests: a body whose
// length is zero or below has a length that nobody knows.
func bodyFraming(req *http.Request) framing {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return noBody
	case req.ContentLength > 0:
		return sized
	}
	return chunked
}

// ofOurs reports whether a field is written from the request's others or not at
// all. A single empty User-Agent is net/http's way to say that there is none.
func ofOurs(name string, values []string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	}
	return name == "User-Agent" && len(values) == 1 && values[0] == ""
}

// writeHead serialises the request's head. What could break the framing is
// refused, never mended.
func writeHead(b *bytes.Buffer, req *http.Request, f framing) error {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	target := requestTarget(req)
	if !httpguts.ValidHeaderFieldName(req.Method) || !validTarget(target) || !httpguts.ValidHostHeader(host) {
		return fmt.Errorf("request line or host is not valid: %q %q %q", req.Method, target, host)
	}
	b.WriteString(req.Method)
	b.WriteByte(' ')
	b.WriteString(target)
	b.WriteString(" HTTP/1.1\r\n")
	writeField(b, "Host", host)
	if err := writeFraming(b, req, f); err != nil {
		return err
	}
	if err := writeFields(b, req.Header); err != nil {
		return err
	}
	b.WriteString("\r\n")
	return nil
}

// requestTarget is what the request line names. An opaque URL is taken as it
// is, which is how a caller passes on a path that net/url would spell
// differently.
func requestTarget(req *http.Request) string {
	u := req.URL
	if u.Opaque == "" {
		return u.RequestURI()
	}
	if u.ForceQuery || u.RawQuery != "" {
		return u.Opaque + "?" + u.RawQuery
	}
	return u.Opaque
}

func validTarget(target string) bool {
	return target != "" && strings.IndexFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0
}

func writeFraming(b *bytes.Buffer, req *http.Request, f framing) error {
	switch f {
	case sized:
		writeField(b, "Content-Length", strconv.FormatInt(req.ContentLength, 10))
	case chunked:
		writeField(b, "Transfer-Encoding", "chunked")
		return announceTrailers(b, req.Trailer)
	case noBody:
		if saysEmpty(req) {
			writeField(b, "Content-Length", "0")
		}
	}
	return nil
}

// saysEmpty reports whether the lack of a body must be said: always where the
// method expects one (RFC 9110, section 8.6), else where the client said so.
func saysEmpty(req *http.Request) bool {
	switch req.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return len(req.Header["Content-Length"]) > 0
}

func announceTrailers(b *bytes.Buffer, trailer http.Header) error {
	if len(trailer) == 0 {
		return nil
	}
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		if !trailerAllowed(name) {
			return fmt.Errorf("trailer %q is not valid", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	writeField(b, "Trailer", strings.Join(names, ", "))
	return nil
}

func trailerAllowed(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Transfer-Encoding", "Trailer", "Content-Length":
		return false
	}
	return httpguts.ValidTrailerHeader(name) && httpguts.ValidHeaderFieldName(name)
}

func invalidValue(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }

// writeFields writes the header in the order of its names, each value as given.
func writeFields(b *bytes.Buffer, h http.Header) error {
	var room [32]string // so that an ordinary header costs no allocation
	names := room[:0]
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("header name %q is not valid", name)
		}
		values := h[name]
		for _, v := range values {
			if invalidValue(v) {
				return fmt.Errorf("value of header %s is not valid", name)
			}
			if !ofOurs(name, values) {
				writeField(b, name, textproto.TrimString(v))
			}
		}
	}
	return nil
}

func writeField(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteString(": ")
	b.WriteString(value)
	b.WriteString("\r\n")
}

// chunkRoom is what a chunk needs around its data: at most eight digits and
// two line ends.
const (
	chunkHeadRoom = 10
	chunkRoom     = chunkHeadRoom + 2
)

// frameChunk puts a chunk's frame around b[chunkHeadRoom:chunkHeadRoom+n] and
// returns the whole, in place, so that one write sends it.
func frameChunk(b []byte, n int) []byte {
	head := strconv.AppendInt(make([]byte, 0, chunkHeadRoom), int64(n), 16)
	head = append(head, "\r\n"...)
	start := chunkHeadRoom - len(head)
	copy(b[start:], head)
	return append(b[start:chunkHeadRoom+n], "\r\n"...)
}

// lastChunk is the end of a chunked body with its trailers.
func lastChunk(trailer http.Header) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("0\r\n")
	for name, values := range trailer {
		if !trailerAllowed(name) || slices.ContainsFunc(values, invalidValue) {
			return nil, errors.New("the trailers are not valid")
		}
	}
	if err := trailer.Write(&b); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}
