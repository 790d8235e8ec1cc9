package control

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"charactier-proxy/switcher"
)

// DefaultSocket is where the system's daemon listens.
const DefaultSocket = "/run/charactier-proxy/control.sock"

const (
	// maxAnswer bounds what the client keeps of one answer.
	maxAnswer = 64 << 20
	// answerTime bounds the wait for an answer that needs no work, so that a
	// daemon that hangs, or whose socket systemd holds while it cannot start, does
	// not hang its watchers. Operations take as long as they take.
	answerTime = 10 * time.Second
)

// Client calls the daemon. The zero value works, on the default socket. It may
// be used by several goroutines at once; each call is a connection of its own,
// so there is nothing to close.
type Client struct {
	// Socket is the path of the control socket; empty means DefaultSocket.
	Socket string
	// OwnVersion is the caller's, and OtherVersion is told of a daemon that has
	// another one, once for each call. Both may be left out.
	OwnVersion   string
	OtherVersion func(daemon string)

	answerTime time.Duration // zero means the constant
}

// Version asks which version the daemon is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return fetch[Version](ctx, c, RouteVersion, nil, nil)
}

// Status asks for everything an operator looks at first.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return fetch[Status](ctx, c, RouteStatus, nil, nil)
}

// History asks for the newest limit operations, newest first.
func (c *Client) History(ctx context.Context, limit int) ([]switcher.Record, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	return fetch[[]switcher.Record](ctx, c, RouteHistory, query, nil)
}

// Switch moves the traffic. On error the record, if it has an ID, tells what
// was tried and where the traffic is; with ErrOutcomeUnknown the operation may
// have been done, and the history knows. So it is with all operations.
func (c *Client) Switch(ctx context.Context, r SwitchRequest) (switcher.Record, error) {
	return operate(ctx, c, RouteSwitch, r)
}

// Rollback moves the traffic back to the previous slot.
func (c *Client) Rollback(ctx context.Context, r SwitchRequest) (switcher.Record, error) {
	return operate(ctx, c, RouteRollback, r)
}

// Hold makes requests wait.
func (c *Client) Hold(ctx context.Context, r HoldRequest) (switcher.Record, error) {
	return operate(ctx, c, RouteHold, r)
}

// ReleaseHold lets them go.
func (c *Client) ReleaseHold(ctx context.Context, r HoldRequest) (switcher.Record, error) {
	return operate(ctx, c, RouteReleaseHold, r)
}

// Abort stops an operation that has not swapped yet.
func (c *Client) Abort(ctx context.Context, r AbortRequest) (AbortResult, error) {
	return fetch[AbortResult](ctx, c, RouteAbort, nil, r)
}

// Stopping says that a unit is about to be stopped.
func (c *Client) Stopping(ctx context.Context, r StoppingRequest) (StoppingResult, error) {
	return fetch[StoppingResult](ctx, c, RouteStopping, nil, r)
}

// EndStreams ends the event streams and WebSockets of a standby slot, and returns
// when it has none any more.
func (c *Client) EndStreams(ctx context.Context, r EndStreamsRequest) (EndStreamsResult, error) {
	return fetch[EndStreamsResult](ctx, c, RouteEndStreams, nil, r)
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) (ConfigStatus, error) {
	return fetch[ConfigStatus](ctx, c, RouteReload, nil, nil)
}

// Upgrade has the installed program take over from the daemon.
func (c *Client) Upgrade(ctx context.Context, r UpgradeRequest) (switcher.Record, error) {
	return operate(ctx, c, RouteUpgrade, r)
}

// Events calls emit with every event after seq, the remembered ones first,
// until ctx ends (nil), emit fails (its error) or the daemon goes
// (ErrUnreachable). Coming back is left to the caller.
func (c *Client) Events(ctx context.Context, after uint64, emit func(switcher.Event) error) error {
	query := url.Values{"after": {strconv.FormatUint(after, 10)}}
	resp, err := c.send(ctx, RouteEvents, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		var e switcher.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		if err := emit(e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("%w: it ended the stream of events", ErrUnreachable)
}

func operate(ctx context.Context, c *Client, route Route, request any) (switcher.Record, error) {
	rec, err := fetch[switcher.Record](ctx, c, route, nil, request)
	var e *Error
	if errors.As(err, &e) && e.Record != nil {
		return *e.Record, err
	}
	var cut cutError
	if errors.As(err, &cut) {
		return rec, fmt.Errorf("%w: the connection ended without an answer: %w", ErrOutcomeUnknown, cut.cause)
	}
	return rec, err
}

// fetch makes one call and decodes its answer. Unknown fields are of a newer
// daemon and let be.
func fetch[T any](ctx context.Context, c *Client, route Route, query url.Values, request any) (T, error) {
	var answer T
	if route.brief() {
		patience := cmp.Or(c.answerTime, answerTime)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, c.silent(patience))
		defer cancel()
	}
	resp, err := c.send(ctx, route, query, request)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer, c.unreachable(ctx, err)
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return answer, fmt.Errorf("reading the daemon's answer to %s: %w", route.Path, err)
	}
	return answer, nil
}

// send returns an answer of 200, whose body the caller closes, or an error.
func (c *Client) send(ctx context.Context, route Route, query url.Values, request any) (*http.Response, error) {
	var body io.Reader
	if request != nil {
		raw, err := json.Marshal(request)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(raw)
	}
	target := url.URL{Scheme: "http", Host: "charactier-proxy", Path: route.Path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, route.Method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	resp, err := c.transport().RoundTrip(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	c.compareVersion(resp.Header.Get(VersionHeader))
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return nil, c.unreachable(ctx, err)
		}
		return nil, decodeError(resp.StatusCode, raw)
	}
	return resp, nil
}

func (c *Client) transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: dialTimeout}
			return dialer.DialContext(ctx, "unix", c.socket())
		},
		DisableKeepAlives:  true,
		DisableCompression: true,
	}
}

func (c *Client) socket() string {
	if c.Socket == "" {
		return DefaultSocket
	}
	return c.Socket
}

func (c *Client) compareVersion(daemon string) {
	if c.OtherVersion != nil && c.OwnVersion != "" && daemon != "" && daemon != c.OwnVersion {
		c.OtherVersion(daemon)
	}
}

const statusHint = "systemctl status charactier-proxy\njournalctl -u charactier-proxy -n 20"

// silent is a daemon that took the connection and says nothing.
func (c *Client) silent(patience time.Duration) error {
	return hinted{fmt.Errorf("%w: nothing came from %s for %s", ErrUnreachable, c.socket(), patience), statusHint}
}

// unreachable says why no answer came, and what helps.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("waiting for an answer: %w", context.Cause(ctx))
	}
	path := c.socket()
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return hinted{fmt.Errorf("%w: there is no socket %s", ErrUnreachable, path), statusHint}
	case errors.Is(err, syscall.ECONNREFUSED):
		return hinted{fmt.Errorf("%w: nobody listens on %s", ErrUnreachable, path), statusHint}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return hinted{fmt.Errorf("%w: %w on %s", ErrUnreachable, fs.ErrPermission, path), joinHint(path)}
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return hinted{fmt.Errorf("%w: it does not answer on %s", ErrUnreachable, path), statusHint}
	}
	return hinted{cutError{err}, statusHint}
}

// cutError is a connection that ended after it was made: what was asked may
// have been done.
type cutError struct{ cause error }

func (c cutError) Error() string {
	return fmt.Sprintf("%v: it closed the connection without an answer: %v", ErrUnreachable, c.cause)
}

func (c cutError) Unwrap() []error { return []error{ErrUnreachable, c.cause} }

// askAsRoot is the hint where no group would let somebody in.
const askAsRoot = "ask as root, with sudo before the same command"

func joinGroup(group, who string) string {
	return fmt.Sprintf("sudo usermod -aG %s %s  # then log in again", group, who)
}

// joinHint names the group that owns the socket, or the directory that hides
// it.
func joinHint(path string) string {
	for _, p := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(p)
		if err != nil {
			continue
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Gid == 0 {
			return askAsRoot
		}
		g, err := user.LookupGroupId(strconv.FormatUint(uint64(st.Gid), 10))
		if err != nil {
			return askAsRoot
		}
		return joinGroup(g.Name, userName(uint32(os.Geteuid())))
	}
	return askAsRoot
}
