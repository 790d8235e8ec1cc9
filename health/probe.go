package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// UserAgent is what a slot's access log shows for a probe.
const UserAgent = "charactier-proxy-health"

// maxAnswer bounds how much is read of a head and, apart, of a body.
const maxAnswer = 64 << 10

// Refused reports whether err says that nobody listens at the address, which is
// certain, unlike a timeout: the connect was refused, or the unix socket does
// not exist.
func Refused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// Ours reports whether err says that this process or this machine has run out of
// something that a connection needs. It says nothing about the address.
func Ours(err error) bool {
	for _, out := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, out) {
			return true
		}
	}
	return false
}

// Probe asks address ("host:port" or "unix:/path") once and returns nil if it
// is healthy. Its error reads like "probing 127.0.0.1:5001: GET /up: 503
// Service Unavailable"; [Refused] tells whether nobody listens. When ctx ends
// first, the error wraps its cause.
func (c Check) Probe(ctx context.Context, address string) error {
	_, err := c.Ask(ctx, address)
	return err
}

// Ask is [Check.Probe], and returns the fields of the answer that was good.
func (c Check) Ask(ctx context.Context, address string) (http.Header, error) {
	c = c.WithDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, errTimeout)
	defer cancel()
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("probing %s: %w", address, c.explain(ctx, err, "no connection"))
	}
	defer conn.Close()
	fields, err := c.ask(ctx, conn, address)
	if err != nil {
		return nil, fmt.Errorf("probing %s: %s %s: %w", address, c.Method, c.Path, err)
	}
	return fields, nil
}

// ask sends the request over conn and judges the answer.
func (c Check) ask(ctx context.Context, conn net.Conn, address string) (http.Header, error) {
	req, err := c.request(ctx, address)
	if err != nil {
		return nil, err
	}
	transport := transportOver(conn, c.Protocol)
	defer transport.CloseIdleConnections()
	// A transport, unlike a client, follows no redirect and keeps no cookie.
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, c.explain(ctx, err, "no answer")
	}
	defer resp.Body.Close()
	// The body is read even where nothing is expected of it, so that the slot
	// can finish its answer and an answer cut short counts as a failure.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case !c.expects(resp.StatusCode):
		return nil, unexpected(resp)
	case err != nil:
		return nil, c.explain(ctx, err, "no complete answer")
	case !bytes.Contains(body, []byte(c.Body)):
		return nil, fmt.Errorf("body does not contain %q", c.Body)
	}
	return resp.Header, nil
}

func (c Check) request(ctx context.Context, address string) (*http.Request, error) {
	target, err := url.ParseRequestURI(c.Path)
	if err != nil {
		return nil, err
	}
	target.Scheme, target.Host = "http", c.Host
	if target.Host == "" {
		target.Host = address
		if _, isUnix := unixPath(address); isUnix {
			target.Host = "localhost"
		}
	}
	req := &http.Request{Method: c.Method, URL: target, Header: http.Header{"User-Agent": {UserAgent}}}
	for name, values := range c.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	return req.WithContext(ctx), nil
}

// transportOver returns a transport that knows one connection only. Proxy is
// left nil: the environment has no say in what is healthy.
func transportOver(conn net.Conn, p Protocol) *http.Transport {
	unused := make(chan net.Conn, 1)
	unused <- conn
	t := &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
		Protocols:              new(http.Protocols),
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			select {
			case conn := <-unused:
				return conn, nil
			default:
				return nil, errors.New("connection closed before the answer")
			}
		},
	}
	t.Protocols.SetHTTP1(p != H2C)
	t.Protocols.SetUnencryptedHTTP2(p == H2C)
	return t
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	// Keep-alive probes would outlive no health probe.
	dialer := net.Dialer{KeepAlive: -1}
	if path, ok := unixPath(address); ok {
		return dialer.DialContext(ctx, "unix", path)
	}
	return dialer.DialContext(ctx, "tcp", address)
}

func unixPath(address string) (path string, ok bool) { return strings.CutPrefix(address, "unix:") }

// errTimeout marks the end of the check's own time, apart from the caller's.
var errTimeout = errors.New("timeout")

// explain reduces what the standard library says about the network to the part
// that an operator needs. missing names what did not come in time.
func (c Check) explain(ctx context.Context, err error, missing string) error {
	cause := context.Cause(ctx)
	var timeout net.Error
	switch {
	case cause != nil && !errors.Is(cause, errTimeout):
		return cause
	case cause != nil, errors.As(err, &timeout) && timeout.Timeout():
		return &timeoutError{missing, c.Timeout}
	}
	switch root := innermost(err); root {
	case io.EOF, io.ErrUnexpectedEOF:
		return fmt.Errorf("%s: %w", missing, io.ErrUnexpectedEOF)
	default:
		return root
	}
}

// innermost drops the layers that repeat what the caller says anyway ("dial tcp
// 127.0.0.1:5001: connect: ..."), but keeps the name that could not be resolved.
func innermost(err error) error {
	for {
		if _, ok := err.(*net.DNSError); ok {
			return err
		}
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func unexpected(resp *http.Response) error {
	if to := resp.Header.Get("Location"); to != "" {
		return fmt.Errorf("%s (to %.200q; redirects are not followed)", statusText(resp), to)
	}
	return errors.New(statusText(resp))
}

// statusText takes only the code from the slot: its reason phrase is free text.
func statusText(resp *http.Response) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode)))
}

// timeoutError says what did not come within the check's timeout.
type timeoutError struct {
	missing string
	within  time.Duration
}

func (e *timeoutError) Error() string { return fmt.Sprintf("%s within %v", e.missing, e.within) }

// Unwrap makes errors.Is(err, context.DeadlineExceeded) hold.
func (e *timeoutError) Unwrap() error { return context.DeadlineExceeded }
