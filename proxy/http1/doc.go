// Package http1 is HTTP/1.1 on the wire (RFC 9112): heads of messages and the
// framing of their bodies. It has no policy, does no input or output, and in
// steady state allocates nothing.
//
// # Promise
//
//   - A [Request] takes only what is plain. What could be read in two ways, what
//     the standard library would change on its way, and what is merely unusual
//     is [ErrNotMine]: not refused, but left to a reader that knows all of HTTP.
//   - Whatever [Request], [Answer] and [Chunks] take, net/http takes as well, and
//     sees the same: method, target, fields, framing, body and what follows it.
//   - How the bytes were cut into reads changes nothing.
//   - No input makes it panic.
package http1
