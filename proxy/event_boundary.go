package proxy

// events follows an event stream by the WHATWG's grammar of EventSource, in
// pieces of any size, to tell where it may end without a loss: where no event has
// begun that is not complete. The zero value is at the start of a stream, where
// that is so.
type events struct {
	line lineState
	open bool // an event's field has come, and not its blank line yet
	// cr says that a CR came last, which may be half of a line end: some clients
	// wait for the other half before they take the line. sure says that it is not,
	// since the line before ended in a CR too.
	cr, sure bool
}

type lineState uint8

const (
	atLine    lineState = iota
	inComment           // nobody misses it
	inField
)

// between reports whether the stream may end here.
func (e *events) between() bool {
	return e.line == atLine && !e.open && (!e.cr || e.sure)
}

// scan follows b and returns how much of it comes before the last place where the
// stream may end; -1 if there is none in b.
func (e *events) scan(b []byte) int {
	last := -1
	for i, c := range b {
		if e.line != atLine && c != '\n' && c != '\r' {
			continue
		}
		e.step(c)
		if e.between() {
			last = i + 1
		}
	}
	return last
}

// step takes a byte that begins a line or ends one.
func (e *events) step(c byte) {
	afterCR := e.cr
	e.cr, e.sure = false, false
	switch c {
	case '\n':
		if !afterCR {
			e.endLine()
		}
	case '\r':
		e.cr, e.sure = true, afterCR // a line that begins behind a CR and ends at once is blank
		e.endLine()
	case ':':
		e.line = inComment
	default:
		e.line, e.open = inField, true
	}
}

func (e *events) endLine() {
	if e.line == atLine {
		e.open = false
	}
	e.line = atLine
}
