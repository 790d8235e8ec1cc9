// Package control is the API over the unix socket: HTTP/1.1 and JSON, so that
// curl --unix-socket works too. The file api.go is the whole contract; server
// and client are its only readers.
//
// Who may call is decided by the peer's credentials, and what by a column of
// the route table. A request that looks as if a browser sent it (Origin,
// Referer, a foreign Host) is refused.
package control
