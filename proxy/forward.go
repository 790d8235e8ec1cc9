package proxy

import (
	"context"
	"io"
	"mime"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"go.uber.org/zap"
)

// forwarder carries requests to the targets they claimed. One ReverseProxy
// serves all: whatever differs from request to request is in its relay.
type forwarder struct {
	proxy   *Proxy
	reverse httputil.ReverseProxy
	buffers bufferPool
	faults  faultLog
}

func newForwarder(p *Proxy) *forwarder {
	f := &forwarder{proxy: p}
	f.buffers.New = func() any { return new([copySize]byte) }
	f.reverse = httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      claimedTransport{},
		BufferPool:     &f.buffers,
		ModifyResponse: f.answered,
		ErrorHandler:   f.failed,
		ErrorLog:       silentLog(p.opts.Logger, "reverse proxy"),
	}
	return f
}

// Handler returns the handler for one service's listeners. It forwards each
// request to the target that it claims, and answers itself only when there is
// nobody else to do so. The service need not exist yet.
func (p *Proxy) Handler(service string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.fwd.serve(service, w, r)
	})
}

func (f *forwarder) serve(service string, w http.ResponseWriter, r *http.Request) {
	x := newRelay(f, service, w, r)
	defer x.end()
	path, refused := admit(r)
	if refused != "" {
		x.fail(refused, nil)
		return
	}
	x.path = path
	if err := x.take(); err != nil {
		x.fail(x.classify(err), err)
		return
	}
	if limit := x.claim.service.MaxBodyBytes; limit > 0 && r.ContentLength > limit {
		x.fail(causeBodyTooLarge, errBodyTooLarge)
		return
	}
	x.prepare()
	f.reverse.ServeHTTP(&x.w, x.r)
	if r.ProtoMajor == 1 && x.upgrade == "" {
		x.w.progress.renew() // net/http writes the end of the answer, maybe long after all else
	}
}

// relayKey finds the relay in a request's context.
type relayKey struct{}

func relayOf(ctx context.Context) *relay { return ctx.Value(relayKey{}).(*relay) }

// rewrite makes the request for the slot. ReverseProxy has taken out what
// concerns the client's connection only.
func (f *forwarder) rewrite(pr *httputil.ProxyRequest) {
	x, out := relayOf(pr.In.Context()), pr.Out
	out.URL = x.slotURL()
	out.Host = pr.In.Host
	if out.Body != nil {
		// Not ReverseProxy's own wrapper, whose Close does nothing: the transport
		// must be able to end a Read. And the trailers must be the map that
		// net/http fills at the body's end, not a copy of it.
		out.Body, out.Trailer = x.body, pr.In.Trailer
	}
	forwardHeaders(out.Header, pr.In, x.from, x.client)
	out.Header[requestIDField] = []string{x.id}
	f.rewriteUpgrade(x, out)
}

// slotURL keeps path and query as they were spelled, byte for byte. net/url
// would respell some paths, and ReverseProxy drops what it takes for malformed
// parameters.
func (x *relay) slotURL() *url.URL {
	in := x.r.URL
	u := &url.URL{Scheme: "http", Host: x.host(), RawQuery: in.RawQuery, ForceQuery: in.ForceQuery}
	if strings.HasPrefix(x.path, "//") && x.claim.service.Protocol == H2C {
		u.Path, u.RawPath = in.Path, in.RawPath // net/http would take it for an authority
		return u
	}
	u.Opaque = x.path
	return u
}

// host names the slot to those who need one: a request of HTTP/1.0 may come
// without.
func (x *relay) host() string {
	if strings.HasPrefix(x.claim.Address, "unix:") {
		return "localhost"
	}
	return x.claim.Address
}

// answered looks at the head of the slot's answer before it is passed on.
func (f *forwarder) answered(res *http.Response) error {
	x := relayOf(res.Request.Context())
	if res.StatusCode == http.StatusSwitchingProtocols {
		return f.tunnel(x, res)
	}
	if kept := x.claim.service.Assets; kept != nil && res.StatusCode == http.StatusNotFound {
		if file := kept.open(x.r, x.path); file != nil {
			return x.serveAsset(res, file)
		}
	}
	body := &slotBody{ReadCloser: res.Body, x: x}
	x.w.headOnly = len(res.Trailer) == 0 && (res.ContentLength == 0 || res.Body == http.NoBody)
	if mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); mediaType == eventStreamMediaType {
		body.events = x.beginEvents(res) // ReverseProxy flushes it
	} else if waiting, ok := res.Body.(waitingBody); ok {
		waiting.onWait(x.w.flushUnsent)
		body.unsized = res.ContentLength < 0
		res.ContentLength = 0 // where it is not known, ReverseProxy would flush too, by a timer
	}
	res.Body = body
	return nil
}

// waitingBody is an answer's body that can say when its reader is about to wait
// for the slot. What came before must be on its way to the client then (P4), and
// it costs nothing to let the rest of an answer that is here gather.
type waitingBody interface {
	// onWait sets what is called, by the reader's goroutine.
	onWait(func())
}

// slotBody is an answer's body that tells its relay why it ended.
type slotBody struct {
	io.ReadCloser
	x       *relay
	unsized bool         // the slot did not say how long it is, and we flush
	events  *eventStream // nil where it is none
}

func (b *slotBody) Read(p []byte) (int, error) {
	n, err := b.read(p)
	switch {
	case err == io.EOF && b.unsized && !b.x.w.flushed:
		b.x.w.FlushError() //nolint:errcheck // noted; else net/http would say how long it is
	case err != nil && err != io.EOF:
		b.x.blame(err)
	}
	return n, err
}

func (b *slotBody) read(p []byte) (int, error) {
	if b.events != nil {
		return b.readEvents(b.events, p)
	}
	return b.ReadCloser.Read(p)
}

// failed is ReverseProxy's error handler: the slot gave no answer, or none that
// is left to pass on.
func (f *forwarder) failed(_ http.ResponseWriter, r *http.Request, err error) {
	x := relayOf(r.Context())
	if err == errTunnelEnded || err == errAssetServed {
		return
	}
	x.fail(x.classify(err), err)
}

// bufferPool is a [httputil.BufferPool]. It holds pointers to arrays, since a
// slice would be allocated anew by each Put.
type bufferPool struct{ sync.Pool }

func (p *bufferPool) Get() []byte  { return p.Pool.Get().(*[copySize]byte)[:] }
func (p *bufferPool) Put(b []byte) { p.Pool.Put((*[copySize]byte)(b)) }

// logPanic reports a mistake of ours, which net/http would log at a level that
// nobody reads.
func (f *forwarder) logPanic(v any, service, id string) {
	f.proxy.opts.Logger.Error("answering a request panicked",
		zap.Any("panic", v), zap.String("service", service), zap.String("request_id", id), zap.Stack("stack"))
}
