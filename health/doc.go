// Package health answers one question: is the address healthy? It knows no
// service, no slot and no configuration file; it is told an address and a
// [Check] and reports what it saw.
//
// # Words
//
// A probe is one request and its verdict. A [Watcher] probes one address for
// ever and turns verdicts into a [State] by counting: Rise successes in a row
// make it healthy, Fall failures in a row unhealthy.
//
// # Promise
//
//   - Nothing is healthy before it was proven: the first state is Unknown.
//   - A probe uses a connection of its own, follows no redirect, uses no
//     HTTP_PROXY, and reads a bounded answer in a bounded time.
//   - A refused connect is certain: it makes an address unhealthy at once,
//     whether a probe or the data path ([Watcher.Nudge]) met it.
//   - What this process or machine ran out of, such as file descriptors, is shown
//     as the error and changes no state: it says nothing about the address.
//   - Probes of one watcher never overlap and do not drift; [Watcher.Await]
//     probes apart from them, back to back.
//
// # Who starts and stops what
//
// [NewWatcher] starts no goroutine. [Watcher.Watch] and [Watcher.Await] block;
// the caller writes go. All methods may be called by several goroutines at
// once unless their comment says otherwise.
package health
