package http1

// Framing is where a message's body ends (RFC 9112, section 6.3).
type Framing uint8

// The framings.
const (
	NoBody     Framing = iota
	Sized              // after a number of bytes
	Chunked            // where its chunks say, see [Chunks]
	UntilClose         // with the connection; answers only
)

// Head is a view of a message's head, which stays in its reader's buffer: what
// it returns is valid for as long as that holds the same bytes. It is meant to
// be used again and again.
type Head struct {
	buf    []byte
	fields []field
	seen   Set
	again  Set // seen more than once

	first int // the length of the first line with its end, 0 while it is not whole
	pos   int // where the first line begins that was not whole yet

	framing Framing
	length  int64
	closing bool
}

// field is where one field lies in the buffer. It ends where the next begins.
type field struct {
	start, colon, value, end uint32
	known                    Known
	stays                    bool // it does not pass
}

func (h *Head) reset() {
	*h = Head{fields: h.fields[:0]}
}

// step is how far parsing came.
type step int

const (
	bad step = iota
	incomplete
	whole
)

// parseFields reads fields of RFC 9112, section 5, up to and with the empty
// line, from where the last call stopped. Names consist of the given class, and
// there are at most that many. On bad, h.pos is the line that is.
func (h *Head) parseFields(class uint8, most int) step {
	for b := h.buf; ; {
		i := h.pos
		switch {
		case i >= len(b):
			return incomplete
		case b[i] == '\r':
			return h.parseEnd()
		}
		colon := skip(b, i, class)
		switch {
		case colon == len(b):
			return incomplete
		case colon == i || b[colon] != ':' || len(h.fields) == most:
			return bad
		}
		value := colon + 1
		for value < len(b) && isSpace(b[value]) {
			value++
		}
		end := nextControl(b, value)
		for end < len(b) && b[end] == '\t' {
			end = nextControl(b, end+1)
		}
		switch {
		case end == len(b), b[end] == '\r' && end+1 == len(b):
			return incomplete
		case b[end] != '\r' || b[end+1] != '\n':
			return bad
		}
		h.pos = end + 2
		for end > value && isSpace(b[end-1]) {
			end--
		}
		h.add(field{start: uint32(i), colon: uint32(colon), value: uint32(value), end: uint32(end)})
	}
}

func (h *Head) parseEnd() step {
	switch {
	case h.pos+1 == len(h.buf):
		return incomplete
	case h.buf[h.pos+1] != '\n':
		return bad
	}
	return whole
}

func (h *Head) add(f field) {
	f.known = knownOf(h.buf[f.start:f.colon])
	bit := f.known.bit()
	h.again |= h.seen & bit
	h.seen |= bit
	h.fields = append(h.fields, f)
}

// Framing tells where the body ends.
func (h *Head) Framing() Framing { return h.framing }

// Length returns the length of a sized body, 0 where there is none.
func (h *Head) Length() int64 { return h.length }

// Close reports whether the connection ends with this message and its answer
// (RFC 9112, section 9.3).
func (h *Head) Close() bool { return h.closing }

// FirstLine returns the request line or status line with its CRLF.
func (h *Head) FirstLine() []byte { return h.buf[:h.first] }

// Len returns the number of fields.
func (h *Head) Len() int { return len(h.fields) }

// Name returns the name of field i as it was spelled.
func (h *Head) Name(i int) []byte {
	f := &h.fields[i]
	return h.buf[f.start:f.colon]
}

// Value returns the value of field i without space around it.
func (h *Head) Value(i int) []byte {
	f := &h.fields[i]
	return h.buf[f.value:f.end]
}

// Known returns which field i is.
func (h *Head) Known(i int) Known { return h.fields[i].known }

// Seen returns which known fields there are.
func (h *Head) Seen() Set { return h.seen }

// Repeated returns which known fields there are more than once.
func (h *Head) Repeated() Set { return h.again }

// Get returns the value of the first field k, nil if there is none.
func (h *Head) Get(k Known) []byte {
	if !h.seen.Has(k) {
		return nil
	}
	for i := range h.fields {
		if h.fields[i].known == k {
			return h.Value(i)
		}
	}
	return nil
}

// AppendFields appends the fields as they were spelled, but for those in drop
// and those that do not pass: what Connection names, a repeated or overruled
// Content-Length, and what is about chunks where there are none. Neighbours are
// copied together. The empty line is the caller's.
func (h *Head) AppendFields(dst []byte, drop Set) []byte {
	run := -1 // where what is due begins
	for i := range h.fields {
		f := &h.fields[i]
		dropped := f.stays || drop.Has(f.known)
		switch {
		case dropped && run >= 0:
			dst = append(dst, h.buf[run:f.start]...)
			run = -1
		case !dropped && run < 0:
			run = int(f.start)
		}
	}
	if run >= 0 {
		dst = append(dst, h.buf[run:h.pos]...)
	}
	return dst
}

// hold keeps the fields of the set from passing.
func (h *Head) hold(s Set) {
	if h.seen&s == 0 {
		return
	}
	for i := range h.fields {
		if s.Has(h.fields[i].known) {
			h.fields[i].stays = true
		}
	}
}
