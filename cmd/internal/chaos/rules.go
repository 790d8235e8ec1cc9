package chaos

import "time"

// symptom is what a client saw instead of a good answer. Answers with an error
// of the proxy's own are "error " and its cause.
type symptom string

const (
	good       symptom = ""
	refused    symptom = "refused"      // no connection
	noAnswer   symptom = "no answer"    // the connection ended without a byte
	idleEnded  symptom = "idle ended"   // so did one that had been used before, while a request came
	cut        symptom = "cut"          // it ended within the answer
	late       symptom = "late"         // nothing came for too long
	ended      symptom = "stream ended" // a stream, between two events or messages
	torn       symptom = "stream torn"  // a stream, within one
	byNginx    symptom = "nginx"        // an error of nginx's own
	left       symptom = "left"         // it was the client that left
	turnedAway symptom = "turned away"  // HTTP/2: refused as not processed, to be sent again
	behind     symptom = "behind close" // pipelined behind an answer that announced the end
	wrong      symptom = "wrong"        // the answer is not the one to this request
	otherError symptom = "error"        // a status that nobody should have given
)

// faultKind names what was done.
type faultKind string

const (
	daemonKilled  faultKind = "daemon killed"
	daemonStopped faultKind = "daemon restarted"
	slotKilled    faultKind = "slot killed"
	slotStopped   faultKind = "slot restarted"
	slotHung      faultKind = "slot hung"
	slotSick      faultKind = "slot sick"
	linkRefused   faultKind = "link refuses"
	linkReset     faultKind = "link resets"
	linkCut       faultKind = "link cuts"
	linkDead      faultKind = "link half-open"
	linkDelayed   faultKind = "link delays"
	linkSlow      faultKind = "link slow"
	diskFull      faultKind = "disk full"
	diskReadOnly  faultKind = "disk read-only"
	held          faultKind = "hold"
	switched      faultKind = "switch"
	rolledBack    faultKind = "rollback"
	aborted       faultKind = "abort"
	reloaded      faultKind = "config reloaded"
	reloadedBad   faultKind = "bad config"
)

// rule says which faults may make a client see something.
type rule struct {
	symptom symptom
	faults  []faultKind
	// lasting narrows the rule to what took that long.
	lasting time.Duration
	// streams narrows the rule to event streams and WebSockets, unseen to requests
	// that never arrived.
	streams, unseen bool
}

// severing are the faults that end a connection between proxy and slot with
// something under way on it. Before a request was taken, a slot that ends or that
// was away for longer than its keep-alive timeout may end it too.
var (
	severing = []faultKind{slotKilled, linkReset, linkCut, linkDead}
	broken   = append([]faultKind{slotStopped, slotHung}, severing...)
	dropping = append([]faultKind{held, linkRefused}, broken...)
	away     = []faultKind{slotKilled, slotStopped, linkRefused, linkReset, linkDead}
)

// rules is the one table of what is allowed. What is not in it is a violation.
// A fault of a slot or of the way to it counts only for requests that were, or
// can have been, at that slot.
var rules = []rule{
	{symptom: noAnswer, faults: []faultKind{daemonKilled}},
	{symptom: cut, faults: []faultKind{daemonKilled}},
	{symptom: idleEnded, faults: []faultKind{daemonKilled}},
	// A connection that is closed while it is idle may just then bring a request:
	// HTTP/1.1 cannot exclude that. It never reaches a slot.
	{symptom: idleEnded, faults: []faultKind{daemonStopped}, unseen: true},
	{symptom: byNginx, faults: []faultKind{daemonKilled}},

	// A request that crosses with the end of an HTTP/2 connection is behind it.
	{symptom: turnedAway, faults: []faultKind{daemonStopped}},

	// A slot that takes no connections is waited for, but not for ever.
	{symptom: "error slot-down-too-long", faults: away, lasting: holdTime},
	{symptom: "error slot-down-hold-full", faults: away},
	{symptom: "error slot-closed-early", faults: broken},
	{symptom: "error slot-reset", faults: broken},
	// What waits in the queue of a listener that closes is reset.
	{symptom: "error slot-reset", faults: []faultKind{linkRefused}},
	{symptom: "error slot-closed-early", faults: []faultKind{linkRefused}},
	{symptom: cut, faults: severing},
	// Node, told to end, destroys a connection whose answer the app has ended and
	// its client has not read to the end: it takes that for idle.
	{symptom: cut, faults: []faultKind{slotStopped}},

	// A hold is bounded.
	{symptom: "error held-too-long", faults: []faultKind{held}},
	{symptom: "error hold-full", faults: []faultKind{held}},

	// An EventSource gets no error: its connection is dropped instead, so that the
	// browser comes back.
	{symptom: noAnswer, faults: dropping, streams: true},
	{symptom: byNginx, faults: dropping, streams: true},

	{symptom: ended, faults: append([]faultKind{daemonKilled, daemonStopped}, severing...), streams: true},
	{symptom: torn, faults: append([]faultKind{daemonKilled}, severing...), streams: true},
}

// again are the faults after which a safe request may arrive at a slot a second
// time: it was sent, and its connection ended without a byte of an answer.
var again = append([]faultKind{daemonKilled}, severing...)

// unhealthy are the faults for which a switch to the slot may be refused, and
// spoilt those for which an operation may fail.
var (
	unhealthy = []faultKind{slotKilled, slotStopped, slotHung, slotSick, linkRefused, linkReset, linkCut, linkDead, linkSlow}
	spoilt    = []faultKind{diskFull, diskReadOnly}
)

// ofSlot reports whether a fault touches one slot, and not all there is.
func (k faultKind) ofSlot() bool {
	switch k {
	case slotKilled, slotStopped, slotHung, slotSick, linkRefused, linkReset, linkCut, linkDead, linkDelayed, linkSlow:
		return true
	}
	return false
}
