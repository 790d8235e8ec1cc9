package role

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// UserAgent is what a slot's access log shows for an order.
const UserAgent = "charactier-proxy-role"

// maxAnswer bounds how much of an answer is read.
const maxAnswer = 16 << 10

// HTTP tells a process by a POST of the order, on a connection of its own. Any
// 2xx says that the role was taken; redirects are not followed.
type HTTP struct {
	Address string // "host:port" or "unix:/path"
	Path    string // with its query, if any
	H2C     bool   // HTTP/2 with prior knowledge instead of HTTP/1.1
}

// Tell is a [Way].
func (h HTTP) Tell(ctx context.Context, o Order) error {
	if err := h.post(ctx, o); err != nil {
		return fmt.Errorf("telling %s: POST %s: %w", h.Address, h.Path, err)
	}
	return nil
}

func (h HTTP) post(ctx context.Context, o Order) error {
	req, err := h.request(ctx, o)
	if err != nil {
		return err
	}
	// A transport, unlike a client, follows no redirect.
	transport := h.transport()
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return explain(ctx, err)
	}
	defer res.Body.Close()
	// The body is read so that the slot can finish its answer.
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)); err != nil {
		return explain(ctx, err)
	}
	return judge(res.StatusCode)
}

func (h HTTP) request(ctx context.Context, o Order) (*http.Request, error) {
	target, err := url.ParseRequestURI(h.Path)
	if err != nil {
		return nil, err
	}
	target.Scheme, target.Host = "http", h.Address
	if strings.HasPrefix(h.Address, unixPrefix) {
		target.Host = "localhost"
	}
	body, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encoding the order: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", UserAgent)
	return req, nil
}

const unixPrefix = "unix:"

// transport is made for one request. Proxy is left nil: the environment has no
// say in who is told.
func (h HTTP) transport() *http.Transport {
	t := &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
		Protocols:              new(http.Protocols),
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if path, ok := strings.CutPrefix(h.Address, unixPrefix); ok {
				network, address = "unix", path
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
	t.Protocols.SetHTTP1(!h.H2C)
	t.Protocols.SetUnencryptedHTTP2(h.H2C)
	return t
}

// explain reduces what the standard library says to what an operator needs.
func explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return ErrNobody
	case errors.Is(err, io.EOF):
		return fmt.Errorf("no answer: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// judge says what a status means. The reason phrase is the slot's own free text
// and left out.
func judge(status int) error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusConflict:
		return fmt.Errorf("%d: its process took an order of a later generation; restart its unit if that is wrong", status)
	}
	return errors.New(strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status))))
}
