package proxy

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// knownMethods are those that Node's parser knows. It drops the connection on
// any other, which would turn one odd request into a failure of its neighbours;
// 501 is the answer that RFC 9110, section 15.6.2, has for them.
var knownMethods = map[string]bool{
	"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true,
	"TRACE": true, "QUERY": true, "COPY": true, "LOCK": true, "MKCOL": true, "MOVE": true, "PROPFIND": true,
	"PROPPATCH": true, "SEARCH": true, "UNLOCK": true, "BIND": true, "REBIND": true, "UNBIND": true,
	"ACL": true, "REPORT": true, "MKACTIVITY": true, "CHECKOUT": true, "MERGE": true, "M-SEARCH": true,
	"NOTIFY": true, "SUBSCRIBE": true, "UNSUBSCRIBE": true, "PURGE": true, "MKCALENDAR": true,
	"LINK": true, "UNLINK": true, "SOURCE": true,
}

// admit returns why a request must not reach the slot, and the path that the
// slot is asked for if it may. Of a request of HTTP/2, net/http has checked
// neither the target nor the host.
//
// CONNECT gets 501 rather than 405: the method is supported for no resource here
// (RFC 9110, sections 9.3.6 and 15.6.2), and only the slot could say what an
// Allow field would have to name.
func admit(r *http.Request) (path string, refused cause) {
	switch {
	case r.Method == http.MethodConnect:
		return "", causeConnectMethod
	case !knownMethods[r.Method]:
		return "", causeUnknownMethod
	}
	path, ok := targetPath(r)
	if !ok || !validTarget(r.RequestURI) || !isASCII(r.RequestURI) || !httpguts.ValidHostHeader(r.Host) {
		return "", causeBadTarget
	}
	return path, ""
}

// isASCII reports whether a target has no byte that RFC 3986 does not know. Node
// drops the connection on seeing one, and a GET would go out a second time.
func isASCII(target string) bool {
	return !strings.ContainsFunc(target, func(r rune) bool { return r >= utf8.RuneSelf })
}

// targetPath returns the request's path as it was spelled. It takes the origin
// form, the absolute form and, for OPTIONS, the asterisk (RFC 9112, section 3.2).
// Of the absolute form's two names of the host the one in the target counts, as
// section 3.2.2 has it; net/http has put it into r.Host. An authority without
// CONNECT, a fragment, user information and other schemes are nobody's business
// but an attacker's.
func targetPath(r *http.Request) (string, bool) {
	target, _, _ := strings.Cut(r.RequestURI, "?")
	switch {
	case strings.Contains(r.RequestURI, "#"):
		return "", false
	case strings.HasPrefix(target, "/"):
		return target, true
	case target == "*":
		return target, r.Method == http.MethodOptions && r.RequestURI == "*"
	case r.ProtoMajor != 1:
		return "", false
	}
	return absolutePath(r, target)
}

func absolutePath(r *http.Request, target string) (string, bool) {
	u := r.URL
	if u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.User != nil || u.Host == "" {
		return "", false
	}
	_, rest, _ := strings.Cut(target, "://")
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:], true
	}
	if r.Method == http.MethodOptions && u.RawQuery == "" {
		return "*", true // RFC 9112, section 3.2.4
	}
	return "/", true
}
