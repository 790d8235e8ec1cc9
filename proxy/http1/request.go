package http1

import (
	"bytes"
	"errors"
)

// ErrNotMine is a request that is not plain. Whoever knows all of HTTP must read
// it from its first byte on.
var ErrNotMine = errors.New("the request is not a plain one")

const (
	// MaxRequestHead is the longest head of a request that is plain.
	MaxRequestHead = 16 << 10
	// MaxRequestFields is the largest number of its fields.
	MaxRequestFields = 64
)

// Method is a request's method.
type Method uint8

// The methods of plain requests.
const (
	GET Method = iota + 1
	HEAD
	POST
	PUT
	PATCH
	DELETE
	OPTIONS
)

// methods has each method as it is spelled.
var methods = [...]string{
	GET: "GET", HEAD: "HEAD", POST: "POST", PUT: "PUT", PATCH: "PATCH", DELETE: "DELETE", OPTIONS: "OPTIONS",
}

// String returns the method as it is spelled.
func (m Method) String() string { return methods[m] }

func methodOf(b []byte) Method {
	switch string(b) {
	case "GET":
		return GET
	case "HEAD":
		return HEAD
	case "POST":
		return POST
	case "PUT":
		return PUT
	case "PATCH":
		return PATCH
	case "DELETE":
		return DELETE
	case "OPTIONS":
		return OPTIONS
	}
	return 0
}

// Request is a view of the head of a plain request.
type Request struct {
	Head
	method        Method
	target, query int // where the target begins, and its query; query is 0 if there is none
}

// Reset forgets the last head. A zero Request needs none.
func (r *Request) Reset() {
	r.reset()
	r.method, r.target, r.query = 0, 0, 0
}

// Method returns the method.
func (r *Request) Method() Method { return r.method }

// Target returns the path and the query as they were spelled.
func (r *Request) Target() []byte { return r.buf[r.target : r.first-len(version)] }

// Path returns the target without its query.
func (r *Request) Path() []byte {
	if r.query > 0 {
		return r.buf[r.target : r.query-1]
	}
	return r.Target()
}

// version is how a request line ends.
const version = " HTTP/1.1\r\n"

// Parse reads a head from the start of b and returns its length, 0 as long as it
// is not whole. Then it is called again with the same bytes and more after them,
// in the same place or another, and goes on where it was. What it does not take
// is [ErrNotMine], as soon as that shows. After either end comes Reset.
func (r *Request) Parse(b []byte) (int, error) {
	r.buf = b
	if r.first == 0 {
		switch r.parseLine() {
		case bad:
			return 0, ErrNotMine
		case incomplete:
			return r.more()
		}
	}
	switch r.parseFields(isPlainName, MaxRequestFields) {
	case incomplete:
		return r.more()
	case whole:
		if n := r.pos + 2; n <= MaxRequestHead && r.plain() {
			return n, nil
		}
	}
	return 0, ErrNotMine
}

func (r *Request) more() (int, error) {
	if len(r.buf) >= MaxRequestHead {
		return 0, ErrNotMine
	}
	return 0, nil
}

// parseLine reads the request line (RFC 9112, section 3).
func (r *Request) parseLine() step {
	b, i := r.buf, 0
	for i < len(b) && 'A' <= b[i] && b[i] <= 'Z' {
		i++
	}
	switch {
	case i > len("OPTIONS"):
		return bad
	case i == len(b):
		return incomplete
	}
	if r.method = methodOf(b[:i]); r.method == 0 || b[i] != ' ' {
		return bad
	}
	end, s := r.parseTarget(i + 1)
	if s != whole {
		return s
	}
	rest := b[end:]
	if len(rest) < len(version) {
		if bytes.HasPrefix([]byte(version), rest) {
			return incomplete
		}
		return bad
	}
	if string(rest[:len(version)]) != version {
		return bad
	}
	r.first = end + len(version)
	r.pos = r.first
	return whole
}

// parseTarget reads a target in the origin form (RFC 9112, section 3.2.1), up to
// the space behind it. Two slashes at the start are an authority to some.
func (r *Request) parseTarget(start int) (end int, s step) {
	b := r.buf
	r.target, r.query = start, 0
	switch {
	case start >= len(b):
		return 0, incomplete
	case b[start] != '/', start+1 < len(b) && b[start+1] == '/':
		return 0, bad
	}
	for i := start; ; i++ {
		if i = skip(b, i, isTarget); i == len(b) {
			return 0, incomplete
		}
		switch c := b[i]; {
		case c == ' ':
			return i, whole
		case c == '?':
			if r.query == 0 {
				r.query = i + 1
			}
		case c != '%':
			return 0, bad
		case r.query == 0: // in a query, net/url bears with anything behind it
			if hex := skip(b[:min(i+3, len(b))], i+1, isHex); hex < i+3 {
				if hex == len(b) {
					return 0, incomplete
				}
				return 0, bad
			}
		}
	}
}

const (
	// neverPlain are fields that make a request another's.
	neverPlain = 1<<Upgrade | 1<<Expect | 1<<Trailer
	// plainOnce are fields of which a plain request has one at most.
	plainOnce = 1<<Host | 1<<Connection | 1<<ContentLength | 1<<TransferEncoding | 1<<TE | 1<<UserAgent
	framings  = 1<<ContentLength | 1<<TransferEncoding
)

// plain looks at what the fields say once all are there.
func (r *Request) plain() bool {
	switch {
	case r.seen&neverPlain != 0, r.again&plainOnce != 0, r.seen&framings == framings:
		return false
	case r.seen.Has(Pragma) && !r.seen.Has(CacheControl):
		return false // net/http adds the latter
	case r.seen.Has(UserAgent) && len(r.Get(UserAgent)) == 0:
		return false // net/http takes it out
	case r.seen.Has(TE) && string(r.Get(TE)) != "trailers":
		return false
	}
	return r.plainHost() && r.plainConnection() && r.plainFraming()
}

// plainHost wants a host, and one that needs no thought (RFC 9110, section
// 7.2).
func (r *Request) plainHost() bool {
	host := r.Get(Host)
	return len(host) > 0 && skip(host, 0, isHost) == len(host)
}

// plainConnection takes one option. Of "upgrade" without an Upgrade field, which
// is what many an nginx says with every request, nothing follows.
func (r *Request) plainConnection() bool {
	if !r.seen.Has(Connection) {
		return true
	}
	option := r.Get(Connection)
	r.closing = equalFold(option, "close")
	return r.closing || equalFold(option, "keep-alive") || equalFold(option, "upgrade")
}

// plainFraming takes a length in its shortest form or chunks alone.
func (r *Request) plainFraming() bool {
	switch {
	case r.seen.Has(TransferEncoding):
		r.framing = Chunked
		return string(r.Get(TransferEncoding)) == "chunked"
	case r.seen.Has(ContentLength):
		value := r.Get(ContentLength)
		n, ok := parseLength(value)
		if !ok || value[0] == '0' && len(value) > 1 {
			return false
		}
		if n > 0 {
			r.framing, r.length = Sized, n
		}
	}
	return true
}
