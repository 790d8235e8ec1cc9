// Package load drives HTTP/1.1 keep-alive clients against an address and
// counts what went wrong. It exists because net/http's client hides what is to
// be measured: it sends a request again when a kept connection turns out to be
// dead, so a proxy that loses requests looks well.
//
// Each client is one connection and sends one request after the other:
// non-idempotent POSTs with unique ids, and GETs between them. Nothing is ever
// sent twice. A request has failed if its connection could not be opened, if it
// could not be written whole, or if its answer was not a complete, strictly
// well-formed 2xx with the request's own id and a known slot.
//
// A connection that the peer closed while its client was thinking is opened
// anew, and that is no failure: the client looks before it writes. A peer that
// closes after that look has lost a request.
package load
