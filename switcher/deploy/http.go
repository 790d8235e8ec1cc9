package deploy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	tryTime  = 30 * time.Second // for one smoke or warm-up request
	tryBytes = 1 << 20          // of its answer
)

// try sends one request to a slot and looks at the answer. Redirects are not
// followed: they are answers like others.
func try(ctx context.Context, address string, want Smoke) error {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	network, dial := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, dial, address = "unix", path, "localhost"
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, dial)
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+want.Path, nil)
	if err != nil {
		return fmt.Errorf("GET %s: %w", want.Path, err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("GET %s: %w", want.Path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, tryBytes))
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: reading the answer: %w", want.Path, err)
	case want.Status != 0 && resp.StatusCode != want.Status:
		return fmt.Errorf("GET %s: %d instead of %d", want.Path, resp.StatusCode, want.Status)
	case !bytes.Contains(body, []byte(want.Text)):
		return fmt.Errorf("GET %s: the answer does not contain %q", want.Path, want.Text)
	}
	return nil
}
