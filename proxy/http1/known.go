package http1

// Known is a field whose name means something to a proxy. The zero value is any
// other field.
type Known uint8

// The fields that are told apart.
const (
	// Of the message and its framing.
	Host Known = iota + 1
	ContentLength
	TransferEncoding
	Trailer
	TE
	Expect

	// Of one connection (RFC 9110, section 7.6.1).
	Connection
	KeepAlive
	ProxyConnection
	ProxyAuthenticate
	ProxyAuthorization
	Upgrade

	// Of where a request came from, which any client may claim.
	Forwarded
	XForwardedFor
	XForwardedHost
	XForwardedProto
	XForwardedOther // X-Forwarded, and X-Forwarded- with anything else
	XOriginal       // X-Original- with anything
	XRealIP
	XRequestID
	XClientIP
	XClusterClientIP
	XRemoteAddr
	XRemoteIP
	XRewriteURL
	XHTTPHost
	XHost
	TrueClientIP
	CFConnectingIP
	FastlyClientIP

	// Others that are looked at or added.
	UserAgent
	Referer
	AcceptEncoding
	Pragma
	CacheControl
	ContentType
	Date
	Server
	Traceparent

	numKnown
)

// names has each field's name in lower case.
var names = [numKnown]string{
	Host: "host", ContentLength: "content-length", TransferEncoding: "transfer-encoding",
	Trailer: "trailer", TE: "te", Expect: "expect",
	Connection: "connection", KeepAlive: "keep-alive", ProxyConnection: "proxy-connection",
	ProxyAuthenticate: "proxy-authenticate", ProxyAuthorization: "proxy-authorization", Upgrade: "upgrade",
	Forwarded: "forwarded", XForwardedFor: "x-forwarded-for", XForwardedHost: "x-forwarded-host",
	XForwardedProto: "x-forwarded-proto", XForwardedOther: "x-forwarded", XOriginal: "x-original-",
	XRealIP: "x-real-ip", XRequestID: "x-request-id", XClientIP: "x-client-ip",
	XClusterClientIP: "x-cluster-client-ip", XRemoteAddr: "x-remote-addr", XRemoteIP: "x-remote-ip",
	XRewriteURL: "x-rewrite-url", XHTTPHost: "x-http-host", XHost: "x-host",
	TrueClientIP: "true-client-ip", CFConnectingIP: "cf-connecting-ip", FastlyClientIP: "fastly-client-ip",
	UserAgent: "user-agent", Referer: "referer", AcceptEncoding: "accept-encoding", Pragma: "pragma",
	CacheControl: "cache-control", ContentType: "content-type", Date: "date", Server: "server",
	Traceparent: "traceparent",
}

// Set is a set of known fields.
type Set uint64

// SetOf returns the set of the given fields.
func SetOf(fields ...Known) Set {
	var s Set
	for _, k := range fields {
		s |= k.bit()
	}
	return s
}

// Has reports whether k is in the set. The zero Known never is.
func (s Set) Has(k Known) bool { return s&k.bit() != 0 }

// bit is zero for unknown fields, so that no set has them.
func (k Known) bit() Set { return 1 << (k & 63) &^ 1 }

// HopByHop are the fields that concern one connection only and never pass (RFC
// 9110, section 7.6.1). Those about framing are not among them: what is left of
// them in a parsed head, and not taken out by [Head.AppendFields] anyway, is
// true of the body as it is passed on.
const HopByHop Set = 1<<Connection | 1<<KeepAlive | 1<<ProxyConnection | 1<<ProxyAuthenticate |
	1<<ProxyAuthorization | 1<<Upgrade

// places finds a known field by the hash of its name.
var places = place()

func place() (p [256]Known) {
	for k := Known(1); k < numKnown; k++ {
		i := hash([]byte(names[k]))
		for p[i] != 0 {
			i++
		}
		p[i] = k
	}
	return p
}

// hash looks at three letters and the length; b is not empty.
func hash(b []byte) uint8 {
	n := len(b)
	return lower[b[0]]*5 ^ lower[b[n-1]]*3 ^ lower[b[n/2]]*17 ^ uint8(n)*7
}

// knownOf returns which field a name is, which is not empty.
func knownOf(name []byte) Known {
	for i := hash(name); places[i] != 0; i++ {
		if k := places[i]; equalFold(name, names[k]) {
			return k
		}
	}
	if name[0]|0x20 == 'x' {
		switch {
		case hasPrefixFold(name, "x-forwarded-"):
			return XForwardedOther
		case hasPrefixFold(name, "x-original-"):
			return XOriginal
		}
	}
	return 0
}
