package proxy

import (
	"context"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"
)

// AccessLogOptions say what an [AccessLog] tells.
type AccessLogOptions struct {
	// Query keeps query strings as they are. Without it only their length shows:
	// they carry tokens, addresses and names.
	Query bool
}

// AccessLog writes one line for each request when it has ended. It never tells
// bodies, nor fields that carry secrets (Authorization, Cookie). Its methods may
// be called by several goroutines at once.
type AccessLog struct {
	log  *zap.Logger
	opts AccessLogOptions
}

// NewAccessLog returns an access log that writes to l.
func NewAccessLog(l *zap.Logger, o AccessLogOptions) *AccessLog { return &AccessLog{l, o} }

// The lanes, by their names in the log: the way through net/http and
// ReverseProxy, and the way past them.
const (
	laneStandard = "standard"
	laneFast     = "fast"
)

// timing is when a request met its milestones towards the slot.
type timing struct {
	wanted  bool
	gotConn time.Time
}

// accessEntry is what the log tells of one request. Times of zero are not told.
type accessEntry struct {
	id, service, lane           string
	client                      netip.Addr
	method, host, target, proto string
	status                      int
	in, out                     int64 // body bytes
	total, held                 time.Duration
	connect, firstByte          time.Duration
	slot, address               string // empty before the claim
	cause                       cause
	err                         error
	upgrade                     string
	stream, assets, aborted     bool
}

// write tells of a request that has ended.
func (l *AccessLog) write(e *accessEntry) {
	entry := l.log.Check(zap.InfoLevel, "request")
	if entry == nil {
		return
	}
	fields := append(make([]zap.Field, 0, 32),
		zap.String("request_id", e.id),
		zap.String("service", e.service),
		zap.String("lane", e.lane),
		zap.String("client", addrText(e.client)),
		zap.String("method", e.method),
		zap.String("host", e.host),
		zap.String("path", l.path(e.target)),
		zap.String("protocol", e.proto),
		zap.Int("status", e.loggedStatus()),
		zap.Int64("bytes_in", e.in),
		zap.Int64("bytes_out", e.out),
	)
	fields = e.appendTiming(fields)
	if e.slot != "" {
		fields = append(fields, zap.String("slot", e.slot), zap.String("target", e.address))
	}
	entry.Write(e.appendOutcome(fields)...)
}

// path is the path and what is told of the query.
func (l *AccessLog) path(target string) string {
	path, query, found := strings.Cut(target, "?")
	switch {
	case !found:
		return path
	case l.opts.Query:
		return path + "?" + query
	}
	return path + "?…"
}

// loggedStatus is what the client was answered, or would have been if it had
// stayed.
func (e *accessEntry) loggedStatus() int {
	if e.status == 0 && e.cause != "" {
		return e.cause.verdict().status
	}
	return e.status
}

func (e *accessEntry) appendTiming(fields []zap.Field) []zap.Field {
	fields = append(fields, zap.Duration("total", e.total))
	for _, part := range [...]struct {
		name string
		took time.Duration
	}{{"held", e.held}, {"connect", e.connect}, {"first_byte", e.firstByte}} {
		if part.took > 0 {
			fields = append(fields, zap.Duration(part.name, part.took))
		}
	}
	return fields
}

func (e *accessEntry) appendOutcome(fields []zap.Field) []zap.Field {
	if e.cause != "" {
		fields = append(fields, zap.String("cause", string(e.cause)), zap.String("caused_by", string(e.cause.verdict().by)))
	}
	if e.err != nil {
		fields = append(fields, zap.NamedError("error", e.err))
	}
	if e.upgrade != "" {
		fields = append(fields, zap.String("upgrade", e.upgrade))
	}
	for _, mark := range [...]struct {
		name string
		is   bool
	}{{"stream", e.stream}, {"assets", e.assets}, {"aborted", e.aborted}} {
		if mark.is {
			fields = append(fields, zap.Bool(mark.name, true))
		}
	}
	return fields
}

// accessEntry is what the log tells of this request.
func (x *relay) accessEntry(aborted bool) *accessEntry {
	in, out := x.bytes()
	e := &accessEntry{
		id: x.id, service: x.service, lane: laneStandard, client: x.client,
		method: x.r.Method, host: x.r.Host, target: x.r.RequestURI, proto: x.r.Proto,
		status: x.w.status, in: in, out: out, total: time.Since(x.start), held: x.claim.held,
		cause: x.cause, err: x.err, upgrade: x.upgrade, stream: x.ending != nil, assets: x.assets, aborted: aborted,
	}
	if !x.timing.gotConn.IsZero() {
		e.connect = x.timing.gotConn.Sub(x.claimed)
	}
	if !x.w.firstByte.IsZero() {
		e.firstByte = x.w.firstByte.Sub(x.start)
	}
	if x.claim.target != nil {
		e.slot, e.address = x.claim.Slot, x.claim.Address
	}
	return e
}

// trace notes when the request got its connection, if anybody wants to know.
func (t *timing) trace(ctx context.Context) context.Context {
	if !t.wanted {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { t.gotConn = time.Now() },
	})
}
