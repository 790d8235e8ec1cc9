package proxy

import (
	"math/rand/v2"
	"net/http"
	"net/netip"

	"charactier-proxy/proxy/http1"
)

// claimedByPeers are the fields that only a trusted peer may send (P5); see
// [claims]. Names with an underscore never come by the fast lane.
var claimedByPeers = http1.SetOf(
	http1.Forwarded, http1.XForwardedFor, http1.XForwardedHost, http1.XForwardedProto, http1.XForwardedOther,
	http1.XOriginal, http1.XRealIP, http1.XRequestID, http1.XClientIP, http1.XClusterClientIP,
	http1.XRemoteAddr, http1.XRemoteIP, http1.XRewriteURL, http1.XHTTPHost, http1.XHost,
	http1.TrueClientIP, http1.CFConnectingIP, http1.FastlyClientIP,
)

// saidAnew are the fields that never pass as they came.
var saidAnew = http1.HopByHop | http1.SetOf(http1.XRequestID, http1.TransferEncoding)

// setID gives the request the id that it goes by; see [requestID].
func (l *laneConn) setID() {
	x := &l.work.laneExchange
	if x.trusted && !x.req.Repeated().Has(http1.XRequestID) {
		if id := x.req.Get(http1.XRequestID); validRequestID(id) {
			x.idLen = copy(x.id[:], id)
			return
		}
	}
	x.idLen = len(appendHex(appendHex(x.id[:0], rand.Uint64()), rand.Uint64()))
}

func (x *laneExchange) requestID() string { return string(x.id[:x.idLen]) }

// buildHead makes the request for the slot: what [forwardHeaders] and [writeHead]
// do in the standard lane. The fields keep their order and spelling.
func (l *laneConn) buildHead() {
	x := &l.work.laneExchange
	drop := saidAnew
	has := x.req.Seen()
	if !x.trusted {
		drop |= claimedByPeers
		has &^= claimedByPeers
	}
	dst := append(l.work.room[:0], x.req.FirstLine()...)
	dst = x.req.AppendFields(dst, drop)
	if !x.trusted {
		dst = http1.AppendField(dst, forwardedHostField, x.req.Get(http1.Host))
	}
	dst = l.appendOrigin(dst, has)
	dst = http1.AppendField(dst, requestIDField, x.id[:x.idLen])
	switch {
	case x.req.Framing() == http1.Chunked:
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	case !has.Has(http1.ContentLength) && expectsBody(x.req.Method()):
		dst = http1.AppendLength(dst, 0)
	}
	dst = append(dst, "\r\n"...)
	x.request = append(dst, x.begun...)
	x.begun = nil
	x.leaveRoom()
}

// appendOrigin says where the request came from, as far as it was not said.
func (l *laneConn) appendOrigin(dst []byte, has http1.Set) []byte {
	if !has.Has(http1.XForwardedFor) || !has.Has(http1.XRealIP) {
		var room [64]byte // for any address, so that it costs no allocation
		if addr := l.client(); addr.IsValid() {
			text := addr.WithZone("").AppendTo(room[:0])
			if !has.Has(http1.XForwardedFor) {
				dst = http1.AppendField(dst, forwardedForField, text)
			}
			if !has.Has(http1.XRealIP) {
				dst = http1.AppendField(dst, realIPField, text)
			}
		}
	}
	if !has.Has(http1.XForwardedProto) {
		dst = http1.AppendField(dst, forwardedProtoField, "http")
	}
	return dst
}

// expectsBody reports whether the lack of a body must be said; see [saysEmpty].
func expectsBody(m http1.Method) bool { return m == http1.POST || m == http1.PUT || m == http1.PATCH }

// client is the address of the client for whom the request was sent.
func (l *laneConn) client() netip.Addr {
	x := &l.work.laneExchange
	from := peer{addr: l.conn.peer, trusted: x.trusted}
	if !x.trusted || !x.req.Seen().Has(http1.XForwardedFor) {
		return from.addr
	}
	var hops []string
	for i := range x.req.Len() {
		if x.req.Known(i) == http1.XForwardedFor {
			hops = append(hops, string(x.req.Value(i)))
		}
	}
	return clientAddr(hops, from, x.claim.settings)
}

// appendAnswerHead makes the head of the final answer for the client.
func (l *laneConn) appendAnswerHead(dst []byte) []byte {
	x := &l.work.laneExchange
	dst = x.appendStatusLine(dst)
	dst = x.res.AppendFields(dst, http1.HopByHop)
	if x.res.Framing() == http1.UntilClose {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	if !x.res.Seen().Has(http1.Date) {
		dst = append(dst, "Date: "...)
		dst = x.start.UTC().AppendFormat(dst, http.TimeFormat)
		dst = append(dst, "\r\n"...)
	}
	if x.closing {
		dst = append(dst, "Connection: close\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// appendStatusLine keeps the slot's own reason. Whatever version the slot speaks,
// we speak HTTP/1.1.
func (x *laneExchange) appendStatusLine(dst []byte) []byte {
	const version = "HTTP/1.1 "
	line := x.res.FirstLine()
	return append(append(dst, version...), line[len(version):]...)
}
