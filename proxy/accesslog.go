package proxy

import (
	"context"
	"net/http/httptrace"
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

// laneStandard names the way through net/http and ReverseProxy.
const laneStandard = "standard"

// timing is when a request met its milestones towards the slot.
type timing struct {
	wanted  bool
	gotConn time.Time
}

// write tells of a request that has ended.
func (l *AccessLog) write(x *relay, aborted bool) {
	entry := l.log.Check(zap.InfoLevel, "request")
	if entry == nil {
		return
	}
	in, out := x.bytes()
	fields := append(make([]zap.Field, 0, 32),
		zap.String("request_id", x.id),
		zap.String("service", x.service),
		zap.String("lane", laneStandard),
		zap.String("client", addrText(x.client)),
		zap.String("method", x.r.Method),
		zap.String("host", x.r.Host),
		zap.String("path", l.target(x)),
		zap.String("protocol", x.r.Proto),
		zap.Int("status", x.loggedStatus()),
		zap.Int64("bytes_in", in),
		zap.Int64("bytes_out", out),
	)
	fields = x.appendTiming(fields)
	if x.claim.target != nil {
		fields = append(fields, zap.String("slot", x.claim.Slot), zap.String("target", x.claim.Address))
	}
	entry.Write(x.appendOutcome(fields, aborted)...)
}

// target is the path and what is told of the query.
func (l *AccessLog) target(x *relay) string {
	path, query, found := strings.Cut(x.r.RequestURI, "?")
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
func (x *relay) loggedStatus() int {
	if x.w.status == 0 && x.cause != "" {
		return x.cause.verdict().status
	}
	return x.w.status
}

func (x *relay) appendTiming(fields []zap.Field) []zap.Field {
	fields = append(fields, zap.Duration("total", time.Since(x.start)))
	if x.claim.held > 0 {
		fields = append(fields, zap.Duration("held", x.claim.held))
	}
	if !x.timing.gotConn.IsZero() {
		fields = append(fields, zap.Duration("connect", x.timing.gotConn.Sub(x.claimed)))
	}
	if !x.w.firstByte.IsZero() {
		fields = append(fields, zap.Duration("first_byte", x.w.firstByte.Sub(x.start)))
	}
	return fields
}

func (x *relay) appendOutcome(fields []zap.Field, aborted bool) []zap.Field {
	if x.cause != "" {
		fields = append(fields, zap.String("cause", string(x.cause)), zap.String("caused_by", string(x.cause.verdict().by)))
	}
	if x.err != nil {
		fields = append(fields, zap.NamedError("error", x.err))
	}
	if x.upgrade != "" {
		fields = append(fields, zap.String("upgrade", x.upgrade))
	}
	if x.stream {
		fields = append(fields, zap.Bool("stream", true))
	}
	if x.assets {
		fields = append(fields, zap.Bool("assets", true))
	}
	if aborted {
		fields = append(fields, zap.Bool("aborted", true))
	}
	return fields
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
