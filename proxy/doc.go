// Package proxy is the data path: it claims a target for a request, forwards
// the request, counts it and lets the target go. It knows no configuration
// file and no control plane; both hand it plain values.
//
// # Words
//
// A [Service] is one application behind the proxy, with two slots. A target
// is what requests are sent to: one slot's address with its connection pool and
// its count of claims. A claim is a request's hold on its target. A swap
// replaces targets in one atomic instant; the targets it replaced are retired
// and drain.
//
// # Promise
//
//   - P1 A request is served start to finish by the target it claimed.
//   - P2 Once [Proxy.Swap] has returned, no request starts on the targets it
//     replaced. A claim counts first and looks again: a retired target refuses,
//     and the request reads the table anew. Drained therefore means never used
//     again.
//   - P3 A request whose bytes the slot may have seen is never sent again.
//   - P4 Body bytes pass unchanged, in order and as they come. An answer that is
//     replaced, by an error of ours or a file of [Assets], is replaced whole.
//   - P5 What an untrusted peer says about itself (X-Forwarded-*, Forwarded,
//     X-Real-IP, hop-by-hop fields) does not reach the slot as truth.
//
// # Two lanes
//
// Every connection begins in the fast lane ([Lane]): one goroutine reads a
// request's head in place (package proxy/http1), claims, writes it to a pooled
// connection of the slot and passes the answer on, past net/http. A body in
// chunks, or of more than 16 KiB, has a second goroutine until it is sent, so that
// the answer may flow meanwhile. The first request on a connection that is not
// plain, or that has to wait, is handed over with the bytes that were read to the
// standard lane, which is net/http with [httputil.ReverseProxy], and the
// connection stays there. So the fast lane never guesses. Both share the table,
// the claims, the connections to the slots, the statistics, the log and the error
// answers; the tests of the data path run through each of them, and a fuzzer holds
// them against each other.
//
// # Who starts and stops what
//
// Constructors start no goroutine. [Server.Serve] and [Retired.Drain] block;
// the caller writes go. All exported methods may be called by several
// goroutines at once unless their comment says otherwise.
package proxy
