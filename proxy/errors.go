package proxy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// What ends a request without the slot being at fault; the slot's own causes
// are in slot_error.go.
const (
	causeClientGone    cause = "client-gone"
	causeHalfCloseOver cause = "client-half-close-over"
	causeBadTarget     cause = "client-bad-target"
	causeUnknownMethod cause = "client-unknown-method"
	causeConnectMethod cause = "client-connect-method"
	causeBodyMalformed cause = "client-body-malformed"
	causeBodyTooLarge  cause = "client-body-too-large"
	causeClientTooSlow cause = "client-too-slow"
	causeHeldTooLong   cause = "held-too-long"
	causeHoldFull      cause = "hold-full"
	causeQueuedTooLong cause = "queued-too-long"
	causeQueueFull     cause = "queue-full"
	causeNoRoom        cause = "out-of-connections"
	causeNoService     cause = "no-service"
	causeShuttingDown  cause = "shutting-down"
	causeStreamIdle    cause = "stream-idle"
	causeStreamCut     cause = "stream-cut"
	causeInternal      cause = "internal"
)

const (
	errorCauseField      = "X-Charactier-Proxy-Error"
	statusClientGone     = 499 // nginx's number for it; no client ever sees it
	retryAfterSeconds    = "5"
	grpcTypePrefix       = "application/grpc"
	eventStreamMediaType = "text/event-stream"
	problemMediaType     = "application/problem+json"
	pageMediaType        = "text/html; charset=utf-8"
)

// party is who can do something about an error.
type party string

const (
	partyClient   party = "client"
	partySlot     party = "slot"
	partyProxy    party = "proxy"
	partyOperator party = "operator"
)

// verdict is what a cause means to a client: the answer it gets and whose doing
// it is.
type verdict struct {
	status int
	by     party
	later  bool // trying again later may well help
	detail string
}

// verdicts is the one table from causes to answers.
var verdicts = map[cause]verdict{
	causeClientGone:    {statusClientGone, partyClient, false, "The client closed the connection before the answer was complete."},
	causeHalfCloseOver: {statusClientGone, partyClient, false, "The client had stopped sending and the answer took longer than such a client is waited for."},
	causeBadTarget:     {http.StatusBadRequest, partyClient, false, "The request's target is not one that can be passed on without guessing what is meant."},
	causeUnknownMethod: {http.StatusNotImplemented, partyClient, false, "The request's method is not known here."},
	causeConnectMethod: {http.StatusNotImplemented, partyClient, false, "This server is not a forward proxy: it opens no tunnels."},
	causeBodyMalformed: {http.StatusBadRequest, partyClient, false, "The request's body is not complete or not framed as HTTP asks."},
	causeBodyTooLarge:  {http.StatusRequestEntityTooLarge, partyClient, false, "The request's body is larger than this service takes."},
	causeClientTooSlow: {http.StatusRequestTimeout, partyClient, false, "The rest of the request did not come in time."},

	causeHeldTooLong:   {http.StatusServiceUnavailable, partyOperator, true, "The service is being switched or restarted, and that takes longer than a request is kept waiting."},
	causeHoldFull:      {http.StatusServiceUnavailable, partyOperator, true, "The service is being switched or restarted, and too many requests are waiting for it."},
	causeQueuedTooLong: {http.StatusServiceUnavailable, partyOperator, true, "The application has as many requests under way as it may have, and none of them ended in time."},
	causeQueueFull:     {http.StatusServiceUnavailable, partyOperator, true, "The application has as many requests under way as it may have, and too many are waiting."},
	causeNoRoom:        {http.StatusServiceUnavailable, partyOperator, true, "The proxy has no file descriptor or no port left for a connection to the application."},
	causeNoService:     {http.StatusServiceUnavailable, partyOperator, true, "There is no service behind this address."},
	causeShuttingDown:  {http.StatusServiceUnavailable, partyOperator, true, "The proxy is stopping and could wait no longer for this request."},
	causeInternal:      {http.StatusBadGateway, partyProxy, false, "The proxy could not pass the request on."},
	causeStreamIdle:    {http.StatusGatewayTimeout, partyProxy, false, "Nothing was said on this connection for too long."},
	causeStreamCut:     {http.StatusServiceUnavailable, partyOperator, true, "The stream's slot is left or about to stop, and the stream came to no place in time where it could end without a loss."},

	causeDown:           {http.StatusServiceUnavailable, partySlot, true, "The application does not accept connections, and that takes longer than a request is kept waiting."},
	causeDownFull:       {http.StatusServiceUnavailable, partySlot, true, "The application does not accept connections, and too many requests are waiting for it."},
	causeConnectRefused: {http.StatusBadGateway, partySlot, true, "The application does not accept connections at the moment."},
	causeConnectTimeout: {http.StatusGatewayTimeout, partySlot, true, "The application did not accept the connection in time."},
	causeConnectFailed:  {http.StatusBadGateway, partySlot, true, "The application could not be connected to."},
	causeHeaderTimeout:  {http.StatusGatewayTimeout, partySlot, false, "The application did not answer in time."},
	causeClosed:         {http.StatusBadGateway, partySlot, false, "The application closed the connection before its answer was complete."},
	causeReset:          {http.StatusBadGateway, partySlot, false, "The application broke the connection before its answer was complete."},
	causeStalled:        {http.StatusGatewayTimeout, partySlot, false, "The application stopped in the middle of the exchange."},
	causeProtocol:       {http.StatusBadGateway, partySlot, false, "What the application answered is not valid HTTP."},
}

func (c cause) verdict() verdict {
	if v, ok := verdicts[c]; ok {
		return v
	}
	if c.ofSlot() {
		return verdicts[causeProtocol]
	}
	return verdicts[causeInternal]
}

// problem is an error answer of ours, as RFC 9457 has it.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Cause     cause  `json:"cause"`
	RequestID string `json:"request_id"`
}

// writeError answers with an error of ours, in the form that the client takes.
// Nothing may have been written yet.
func writeError(w http.ResponseWriter, r *http.Request, c cause, id string) {
	v := c.verdict()
	h := w.Header()
	h.Set(errorCauseField, string(c))
	h.Set("Cache-Control", "no-store")
	h.Set(requestIDField, id)
	if v.later && v.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfterSeconds)
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), grpcTypePrefix) {
		writeGRPCError(w, v)
		return
	}
	contentType, body := errorBody(r, c, v, id)
	if contentType != "" {
		h.Set("Content-Type", contentType)
		h.Set("X-Content-Type-Options", "nosniff")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(v.status)
	if r.Method != http.MethodHead {
		w.Write(body) //nolint:errcheck // the access log tells of clients that left
	}
}

// errorBody is empty for handshakes: a WebSocket client reads the status only.
func errorBody(r *http.Request, c cause, v verdict, id string) (contentType string, body []byte) {
	if r.Header.Get("Upgrade") != "" && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		return "", nil
	}
	p := problem{
		Type: "about:blank", Title: statusTitle(v.status), Status: v.status,
		Detail: v.detail, Cause: c, RequestID: id,
	}
	if prefersPage(r.Header["Accept"]) {
		return pageMediaType, p.page()
	}
	body, err := json.Marshal(p)
	if err != nil {
		return "", nil // strings and a number always marshal
	}
	return problemMediaType, append(body, '\n')
}

func statusTitle(status int) string {
	return cmp.Or(http.StatusText(status), "Client Closed Request")
}

// page is the same for people. It needs nothing from anywhere else.
func (p *problem) page() []byte {
	esc := html.EscapeString
	return fmt.Appendf(nil, `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>%[1]d %[2]s</title>
<style>:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem}
h1{font-size:1.4rem}code{opacity:.7;overflow-wrap:anywhere}</style></head>
<body><h1>%[1]d %[2]s</h1><p>%[3]s</p><p><code>%[4]s</code><br><code>%[5]s</code></p></body></html>
`, p.Status, esc(p.Title), esc(p.Detail), esc(string(p.Cause)), esc(p.RequestID))
}

// prefersPage reports whether the client asks for HTML, by name, more than for
// JSON. Whatever takes anything gets JSON: it is a program.
func prefersPage(accept []string) bool {
	var page, data float64
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			mediaType, params, _ := strings.Cut(item, ";")
			q := quality(params)
			switch strings.ToLower(strings.TrimSpace(mediaType)) {
			case "text/html", "application/xhtml+xml":
				page = max(page, q)
			case "application/json", problemMediaType, "application/*":
				data = max(data, q)
			}
		}
	}
	return page > data
}

// quality reads the weight of a media range (RFC 9110, section 12.4.2).
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// writeGRPCError answers a gRPC request with an answer of trailers only, which
// is a single head to HTTP/2: gRPC clients read the status of the call there and
// make little of an HTTP status.
func writeGRPCError(w http.ResponseWriter, v verdict) {
	h := w.Header()
	h.Set("Content-Type", grpcTypePrefix)
	h.Set("Grpc-Status", strconv.Itoa(grpcStatus(v.status)))
	h.Set("Grpc-Message", grpcMessage(v.detail))
	w.WriteHeader(http.StatusOK)
}

// grpcStatus gives the nearest status code of gRPC.
func grpcStatus(status int) int {
	const cancelled, unknown, deadlineExceeded, resourceExhausted, unimplemented, internal, unavailable = 1, 2, 4, 8, 12, 13, 14
	switch status {
	case statusClientGone:
		return cancelled
	case http.StatusBadRequest:
		return internal
	case http.StatusRequestTimeout:
		return deadlineExceeded
	case http.StatusRequestEntityTooLarge:
		return resourceExhausted
	case http.StatusNotImplemented:
		return unimplemented
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return unavailable
	}
	return unknown
}

// grpcMessage percent-encodes as gRPC's protocol over HTTP/2 asks.
func grpcMessage(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// isEventSource reports whether a browser's EventSource asks. It gives up for
// ever on any answer but 200 and comes back after a broken connection (HTML
// standard, section 9.2.3), so an error of ours must not reach it as an answer.
func isEventSource(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Accept") == eventStreamMediaType
}
