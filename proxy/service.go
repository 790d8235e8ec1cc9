package proxy

import "time"

// Protocol is the language spoken to a service's slots.
type Protocol string

const (
	// HTTP1 is HTTP/1.1 (RFC 9112), what Node, Express and Next.js speak.
	HTTP1 Protocol = "http1"
	// H2C is HTTP/2 with prior knowledge over cleartext TCP (RFC 9113, section
	// 3.3). gRPC slots need it.
	H2C Protocol = "h2c"
)

// Service describes one application behind the proxy. It is a plain value: the
// proxy copies what it needs and never writes to it. Durations of zero and
// limits of zero mean "no bound" unless the field says otherwise.
type Service struct {
	// Name is the key under which requests, statistics and swaps find it.
	Name string
	// Slots maps a slot's name to its address: "host:port" or "unix:/path".
	Slots map[string]string
	// Protocol is what the slots speak; empty means HTTP1.
	Protocol Protocol
	// Upgrades lists the Upgrade tokens (RFC 9110, section 7.8) that are passed
	// on, lower case. Any other upgrade is ignored and the request treated as an
	// ordinary one, as the RFC allows.
	Upgrades []string

	// ConnectTimeout bounds one attempt to connect to a slot.
	ConnectTimeout time.Duration
	// ResponseHeaderTimeout bounds the wait from the request's last byte to the
	// head of its final answer.
	ResponseHeaderTimeout time.Duration
	// SlotIdleTimeout is how long an idle connection to a slot may be used again
	// when the slot did not name its own limit. It must stay below the slot's
	// keep-alive timeout (Node: 5 s).
	SlotIdleTimeout time.Duration
	// MaxIdleSlotConns bounds the idle connections kept to one slot.
	MaxIdleSlotConns int
	// ProgressTimeout bounds the wait for the client to take or give the next
	// bytes of a body. It is never a total.
	ProgressTimeout time.Duration
	// StreamIdleTimeout bounds the time without a byte from the slot in a body
	// and in either direction of an upgraded connection.
	StreamIdleTimeout time.Duration
	// StreamSpread is the time over which [Proxy.EndStreams] asks streams to end,
	// and StreamBound how long each may take from then on. Zero means no time.
	StreamSpread, StreamBound time.Duration
	// StreamCloseCode is the status of the Close that a WebSocket's client gets;
	// zero means 1012, by which it knows that it should come back (RFC 6455,
	// section 7.4).
	StreamCloseCode int
	// HalfCloseGrace is how long a request goes on after its client shut down
	// its writing side: long enough for a client that still reads, short enough
	// for a slot whose client has left.
	HalfCloseGrace time.Duration

	// MaxBodyBytes bounds a request's body; a longer one is answered 413.
	MaxBodyBytes int64
	// MaxRequests bounds the requests, streams left out, that are under way at one
	// slot at once. Up to QueueRequests more wait, each for up to QueueTime, and go
	// in the order in which they came; the next is answered 503.
	MaxRequests, QueueRequests int
	QueueTime                  time.Duration
	// HoldRequests bounds how many requests may wait while the service is held.
	HoldRequests int
	// HoldTime bounds how long each of them waits.
	HoldTime time.Duration

	// Assets are looked at where a slot has not what is asked for; nil means that
	// there are none.
	Assets *Assets
}
