package http1

import (
	"bytes"
	"errors"
	"fmt"
)

const (
	// MaxAnswerHead is the longest head of an answer.
	MaxAnswerHead = 1 << 20
	// MaxAnswerFields is the largest number of its fields.
	MaxAnswerFields = 1024
	// maxOptions bounds the fields that Connection may name.
	maxOptions = 64
)

var (
	errHeadTooLarge   = fmt.Errorf("the head is longer than %d bytes", MaxAnswerHead)
	errTooManyFields  = fmt.Errorf("the head has more than %d fields", MaxAnswerFields)
	errTooManyOptions = fmt.Errorf("more than %d fields are named by Connection", maxOptions)
	errLengthsDiffer  = errors.New("several lengths that differ")
)

// Answer is a view of the head of an answer.
type Answer struct {
	Head
	status int
	http10 bool
}

// Reset forgets the last head. A zero Answer needs none.
func (a *Answer) Reset() {
	a.reset()
	a.status, a.http10 = 0, false
}

// Status returns the status code.
func (a *Answer) Status() int { return a.status }

// Informational reports whether another head follows for the same request (RFC
// 9110, section 15.2). 101 is none: what follows it is no HTTP.
func (a *Answer) Informational() bool { return a.status < 200 && a.status != 101 }

// Parse reads a head from the start of b, as [Request.Parse] does; m is the
// request's method. There is no second reader here, so what it does not take is
// an error for good. It bears with a missing reason, other versions of HTTP/1
// and the same length said twice.
func (a *Answer) Parse(b []byte, m Method) (int, error) {
	a.buf = b
	s := whole
	if a.first == 0 {
		if s = a.parseLine(); s == bad {
			return 0, fmt.Errorf("status line %q is not valid", clip(b))
		}
	}
	if s == whole {
		s = a.parseFields(isToken, MaxAnswerFields)
	}
	switch {
	case s == bad && len(a.fields) == MaxAnswerFields:
		return 0, errTooManyFields
	case s == bad:
		return 0, fmt.Errorf("header line %q is not valid", clip(b[a.pos:]))
	case s == incomplete && len(b) >= MaxAnswerHead, s == whole && a.pos+2 > MaxAnswerHead:
		return 0, errHeadTooLarge
	case s == incomplete:
		return 0, nil
	}
	return a.pos + 2, a.interpret(m)
}

// clip shortens what a slot said to a line that fits into a log.
func clip(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i]
	}
	return b[:min(len(b), 100)]
}

// parseLine reads the status line (RFC 9112, section 4). The reason may be
// missing, also with its space.
func (a *Answer) parseLine() step {
	const pattern = "HTTP/1.d ddd"
	b := a.buf
	for i := range len(pattern) {
		switch {
		case i == len(b):
			return incomplete
		case pattern[i] == 'd' && '0' <= b[i] && b[i] <= '9':
		case b[i] != pattern[i] || pattern[i] == 'd':
			return bad
		}
	}
	a.http10 = b[7] == '0'
	a.status = int(b[9]-'0')*100 + int(b[10]-'0')*10 + int(b[11]-'0')
	end := skip(b, len(pattern), isVisible)
	switch {
	case a.status < 100, end > len(pattern) && b[len(pattern)] != ' ':
		return bad
	case end == len(b), b[end] == '\r' && end+1 == len(b):
		return incomplete
	case b[end] != '\r' || b[end+1] != '\n':
		return bad
	}
	a.first = end + 2
	a.pos = a.first
	return whole
}

// interpret looks at what the fields say once all are there.
func (a *Answer) interpret(m Method) error {
	if err := a.readOptions(); err != nil {
		return err
	}
	chunked, err := a.readTransferEncoding()
	if err != nil {
		return err
	}
	length, err := a.readLengths()
	if err != nil {
		return err
	}
	a.frame(m, chunked, length)
	return nil
}

// readOptions reads Connection (RFC 9110, section 7.6.1): whether the connection
// goes on, and which fields concern nobody else.
func (a *Answer) readOptions() error {
	keep, named := false, 0
	for i := range a.fields {
		if a.fields[i].known != Connection {
			continue
		}
		for option, rest := cutToken(a.Value(i)); ; option, rest = cutToken(rest) {
			switch {
			case len(option) == 0:
			case equalFold(option, "close"):
				a.closing = true
			case equalFold(option, "keep-alive"):
				keep = true
			default:
				if named++; named > maxOptions {
					return errTooManyOptions
				}
				a.holdNamed(option)
			}
			if rest == nil {
				break
			}
		}
	}
	a.closing = a.closing || a.http10 && !keep
	return nil
}

// holdNamed keeps the fields of that name from passing. A length is the body's,
// whatever Connection says.
func (a *Answer) holdNamed(name []byte) {
	for i := range a.fields {
		f := &a.fields[i]
		if f.known != ContentLength && sameFold(a.Name(i), name) {
			f.stays = true
		}
	}
}

// readTransferEncoding reports whether the body is chunked, the only coding that
// there is. HTTP/1.0 has none: who sends it there may have lost count, and the
// connection is not used again (RFC 9112, section 6.1).
func (a *Answer) readTransferEncoding() (chunked bool, err error) {
	switch coding := a.Get(TransferEncoding); {
	case coding == nil:
		return false, nil
	case a.http10:
		a.closing = true
		return false, nil
	case a.again.Has(TransferEncoding) || !equalFold(coding, "chunked"):
		return false, fmt.Errorf("transfer coding %q is not known", clip(coding))
	}
	return true, nil
}

// readLengths returns the length that the head gives, -1 if it gives none.
// Several must agree, and one of them passes.
func (a *Answer) readLengths() (int64, error) {
	if !a.seen.Has(ContentLength) {
		return -1, nil
	}
	first := a.Get(ContentLength)
	n, ok := parseLength(first)
	if !ok {
		return 0, fmt.Errorf("length %q is not valid", clip(first))
	}
	if !a.again.Has(ContentLength) {
		return n, nil
	}
	said := false
	for i := range a.fields {
		f := &a.fields[i]
		if f.known != ContentLength {
			continue
		}
		if !bytes.Equal(a.Value(i), first) {
			return 0, errLengthsDiffer
		}
		f.stays, said = said, true
	}
	return n, nil
}

// frame is RFC 9112, section 6.3.
func (a *Answer) frame(m Method, chunked bool, length int64) {
	held := SetOf(TE)
	if chunked && length >= 0 {
		a.closing, length = true, -1
		held |= SetOf(ContentLength)
	}
	switch {
	case a.status < 200, a.status == 204:
		held |= SetOf(ContentLength) // which must not be there (RFC 9110, section 8.6)
	case m == HEAD, a.status == 304, length == 0:
	case chunked:
		a.framing = Chunked
	case length > 0:
		a.framing, a.length = Sized, length
	default:
		a.framing, a.closing = UntilClose, true
	}
	if a.framing != Chunked {
		held |= SetOf(TransferEncoding, Trailer)
	}
	a.hold(held)
}

// KeepAliveTimeout returns the seconds that "Keep-Alive: timeout=N" names (RFC
// 2068, section 19.7.1.1; Node sends it), -1 where it names none.
func (a *Answer) KeepAliveTimeout() int {
	if !a.seen.Has(KeepAlive) {
		return -1
	}
	for i := range a.fields {
		if a.fields[i].known != KeepAlive {
			continue
		}
		for param, rest := cutToken(a.Value(i)); ; param, rest = cutToken(rest) {
			if n := timeoutOf(param); n >= 0 {
				return n
			}
			if rest == nil {
				break
			}
		}
	}
	return -1
}

// maxTimeout is the largest timeout that is believed, about twelve days.
const maxTimeout = 1<<20 - 1

func timeoutOf(param []byte) int {
	name, value, _ := bytes.Cut(param, []byte("="))
	if !equalFold(trim(name), "timeout") {
		return -1
	}
	if n, ok := parseLength(bytes.Trim(trim(value), `"`)); ok && n <= maxTimeout {
		return int(n)
	}
	return -1
}
