package proxy

import "sync/atomic"

// A stream of HTTP/2 that its client resets at once has cost the client two
// frames, and us a request to the slot, for which a connection may have been
// opened (CVE-2023-44487). Clients do leave now and then; on one that hardly ever
// waits for an answer we hang up, and what it has sent meanwhile goes unread.

// hastyFrom is how many streams of a connection were reset before we judge it.
const hastyFrom = 500

// haste counts the streams of one connection.
type haste struct{ requests, resets atomic.Int64 }

// ended counts a stream, which was reset before there was an answer or was not,
// and reports whether the connection is one to hang up on: more than half of its
// streams were.
func (h *haste) ended(reset bool) bool {
	requests := h.requests.Add(1)
	if !reset {
		return false
	}
	resets := h.resets.Add(1)
	return resets >= hastyFrom && resets > requests/2
}
