package proxy

import (
	"math/rand/v2"
	"net/http"
)

const (
	requestIDField  = "X-Request-Id"
	maxRequestIDLen = 128
)

// requestID returns the id that the request goes by: the one a trusted peer
// gave it, when it is well-formed, or a new one. Whoever reads logs must be able
// to paste it anywhere, so its alphabet is narrow.
func requestID(h http.Header, trusted bool) string {
	if values := h[requestIDField]; trusted && len(values) == 1 && validRequestID(values[0]) {
		return values[0]
	}
	return newRequestID()
}

// newRequestID returns 128 random bits in hexadecimal. They need to be different,
// not secret.
func newRequestID() string {
	var b [32]byte
	return string(appendHex(appendHex(b[:0], rand.Uint64()), rand.Uint64()))
}

// appendHex appends all sixteen digits of v.
func appendHex(b []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&0xf])
	}
	return b
}

func validRequestID[T string | []byte](id T) bool {
	if len(id) == 0 || len(id) > maxRequestIDLen {
		return false
	}
	for i := range len(id) {
		if !requestIDByte(id[i]) {
			return false
		}
	}
	return true
}

func requestIDByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '-', '.', '_', ':', '+', '/', '=', '@':
		return true
	}
	return false
}
