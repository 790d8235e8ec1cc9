package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// h2cTransport is the way to a slot that speaks HTTP/2 with prior knowledge.
// net/http's client speaks it; what it reports is put into our own errors.
type h2cTransport struct {
	*http.Transport
	stall time.Duration
}

func newH2CTransport(s *Service, slot string, onConnectError func(service, slot string, err error)) *h2cTransport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	address, service, timeout := s.Slots[slot], s.Name, s.ConnectTimeout
	return &h2cTransport{stall: s.StreamIdleTimeout, Transport: &http.Transport{
		Protocols:              &protocols,
		DisableCompression:     true,
		ResponseHeaderTimeout:  s.ResponseHeaderTimeout,
		IdleConnTimeout:        s.SlotIdleTimeout,
		MaxResponseHeaderBytes: maxHead,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dialSlot(ctx, address, timeout)
			if err == nil || ctx.Err() != nil {
				return c, err
			}
			fault := connectError(address, err)
			onConnectError(service, slot, fault)
			return nil, fault
		},
	}}
}

// Retire closes the idle connections; a busy one closes with its last stream.
func (t *h2cTransport) Retire() { t.CloseIdleConnections() }

func (t *h2cTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return t.Transport.RoundTrip(req)
}

var _ = errors.New
var _ sync.Mutex
var _ io.Reader
