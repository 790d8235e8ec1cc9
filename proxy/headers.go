package proxy

import (
	"net/http"
	"net/netip"
	"strings"
)

// The fields by which a peer tells whom it speaks for.
const (
	forwardedField      = "Forwarded"
	forwardedForField   = "X-Forwarded-For"
	forwardedHostField  = "X-Forwarded-Host"
	forwardedProtoField = "X-Forwarded-Proto"
	realIPField         = "X-Real-Ip"
)

// claimedPrefixes and claimedFields name, in canonical spelling, what only a
// trusted peer may say about where a request came from and what it was (P5).
// Applications and their frameworks believe one or another of them.
var (
	claimedPrefixes = []string{"X-Forwarded-", "X-Original-"}
	claimedFields   = map[string]bool{
		forwardedField:        true,
		realIPField:           true,
		"X-Forwarded":         true,
		"X-Client-Ip":         true,
		"X-Cluster-Client-Ip": true,
		"X-Remote-Addr":       true,
		"X-Remote-Ip":         true,
		"X-Rewrite-Url":       true,
		"X-Http-Host":         true,
		"X-Host":              true,
		"True-Client-Ip":      true,
		"Cf-Connecting-Ip":    true,
		"Fastly-Client-Ip":    true,
		requestIDField:        true,
	}
)

// claims reports whether a field tells what only a trusted peer may tell. An
// underscore counts as a hyphen, as it does for the many applications that see
// fields as environment variables.
func claims(name string) bool {
	if strings.Contains(name, "_") {
		name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	for _, prefix := range claimedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return claimedFields[name]
}

// peer is who sent a request to us.
type peer struct {
	addr    netip.Addr // not valid for unix sockets and where the address is unknown
	trusted bool
}

// peerOf tells who sent the request and whether the settings trust them. c is nil
// where the handler runs without a [Server].
func peerOf(c *clientConn, r *http.Request, set *Settings) peer {
	if c != nil {
		return peer{addr: c.peer, trusted: set.trusts(c.peer, c.unix)}
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return peer{}
	}
	addr := ap.Addr().Unmap()
	return peer{addr: addr, trusted: set.trusts(addr, false)}
}

func (s *Settings) trusts(addr netip.Addr, unix bool) bool {
	if unix {
		return s.TrustUnixPeers
	}
	addr = addr.WithZone("")
	for _, p := range s.TrustedPeers {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// clientAddr returns the address of the client for whom the request was sent:
// the peer's own or, where the peer is trusted, the last in X-Forwarded-For that
// is not itself a trusted peer.
func clientAddr(values []string, from peer, set *Settings) netip.Addr {
	if !from.trusted {
		return from.addr
	}
	client := from.addr
	for i := len(values) - 1; i >= 0; i-- {
		hops := strings.Split(values[i], ",")
		for j := len(hops) - 1; j >= 0; j-- {
			addr, err := netip.ParseAddr(strings.TrimSpace(hops[j]))
			if err != nil {
				return client
			}
			client = addr.Unmap()
			if !set.trusts(client, false) {
				return client
			}
		}
	}
	return client
}

// forwardHeaders writes what the slot is told about the request's way here. What
// a trusted peer says arrives as it was said, its own address not added, and
// cannot be taken out by "Connection: X-Forwarded-For"; only the client's address
// and the scheme are filled in where they are missing. What anybody else says is
// dropped and said afresh (P5). There is no Via: the proxy is not seen (RFC 9110,
// section 7.6.3, asks for one; nginx and others leave it out as well, since
// applications change what they do on seeing it).
func forwardHeaders(out http.Header, in *http.Request, from peer, client netip.Addr) {
	if from.trusted {
		keepClaims(out, in.Header)
	} else {
		dropClaims(out)
		setMissing(out, forwardedHostField, in.Host)
	}
	if addr := addrText(client); addr != "" {
		setMissing(out, forwardedForField, addr)
		setMissing(out, realIPField, addr)
	}
	setMissing(out, forwardedProtoField, "http")
}

// keepClaims brings back what was taken out on the way.
func keepClaims(out, in http.Header) {
	for name, values := range in {
		if claims(name) {
			out[name] = values
		}
	}
}

func dropClaims(out http.Header) {
	for name := range out {
		if claims(name) {
			delete(out, name)
		}
	}
}

func setMissing(h http.Header, name, value string) {
	if _, ok := h[name]; !ok && value != "" {
		h[name] = []string{value}
	}
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.WithZone("").String()
}

// webSocketSpelling restores, in a map that will be written as it is, the
// spelling of the fields of RFC 6455, which net/http does not know.
func webSocketSpelling(h http.Header) {
	for name, values := range h {
		if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok {
			delete(h, name)
			h["Sec-WebSocket-"+rest] = values
		}
	}
}
