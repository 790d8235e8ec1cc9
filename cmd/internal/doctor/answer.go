package doctor

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/health"
)

// causeField is in answers that are the proxy's own.
const causeField = "X-Charactier-Proxy-Error"

// excerptSize is how much of an unhealthy answer an operator wants to see.
const excerptSize = 200

// examineAnswer asks an address for the health route. The verdict is that of
// the daemon's own probes; what they do not keep is asked for once more.
func examineAnswer(ctx context.Context, address string, check health.Check, hosts []string) Answer {
	check = check.WithDefaults()
	a := ask(ctx, address, check)
	if a.Err != nil {
		return a
	}
	a.Healthy = check.Probe(ctx, address) == nil
	if a.Healthy || a.Status < 400 || a.Status >= 500 {
		return a
	}
	for _, host := range hosts {
		if other := check; host != check.Host {
			other.Host = host
			if other.Probe(ctx, address) == nil {
				a.OtherHost = host
				return a
			}
		}
	}
	return a
}

// ask sends one request and keeps what the checks want to know.
func ask(ctx context.Context, address string, check health.Check) Answer {
	a := Answer{Asked: true}
	ctx, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	connected := false
	transport := &http.Transport{
		DisableCompression: true,
		Protocols:          new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			network, rest := config.Network(address)
			conn, err := new(net.Dialer).DialContext(ctx, network, rest)
			connected = err == nil
			return conn, err
		},
	}
	transport.Protocols.SetHTTP1(check.Protocol != health.H2C)
	transport.Protocols.SetUnencryptedHTTP2(check.Protocol == health.H2C)
	defer transport.CloseIdleConnections()
	a.read(request(ctx, address, check, transport))
	a.Refused = errors.Is(a.Err, syscall.ECONNREFUSED) || errors.Is(a.Err, syscall.ENOENT)
	a.Silent = a.Err != nil && !connected && errors.Is(ctx.Err(), context.DeadlineExceeded)
	a.Err = shorter(ctx, a.Err)
	return a
}

func request(ctx context.Context, address string, check health.Check, transport *http.Transport) (*http.Response, error) {
	host := check.Host
	if host == "" {
		host = address
		if network, _ := config.Network(address); network == "unix" {
			host = "localhost"
		}
	}
	req, err := http.NewRequestWithContext(ctx, check.Method, "http://charactier"+check.Path, nil)
	if err != nil {
		return nil, err
	}
	req.Host = host
	req.Header.Set("User-Agent", "charactier-proxy-doctor")
	return transport.RoundTrip(req)
}

// read takes what is of interest from the answer.
func (a *Answer) read(resp *http.Response, err error) {
	if err != nil {
		a.Err = err
		return
	}
	defer resp.Body.Close()
	a.Status, a.Location, a.Ours = resp.StatusCode, resp.Header.Get("Location"), resp.Header.Get(causeField)
	a.KeepIdle = keepIdle(resp.Header.Get("Keep-Alive"))
	excerpt, err := io.ReadAll(io.LimitReader(resp.Body, excerptSize))
	a.Excerpt = strings.TrimSpace(string(excerpt))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	}
	a.Err = err
}

// keepIdle reads "timeout=5" of a Keep-Alive field.
func keepIdle(field string) time.Duration {
	for part := range strings.SplitSeq(field, ",") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(part), "timeout="); ok {
			if n, err := strconv.ParseUint(seconds, 10, 31); err == nil {
				return time.Duration(n) * time.Second
			}
		}
	}
	return 0
}

// shorter drops what an operator knows anyway.
func shorter(ctx context.Context, err error) error {
	var op *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection ended before the answer was complete")
	case errors.As(err, &op):
		return op.Err
	}
	return err
}
