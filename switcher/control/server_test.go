package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// raw sends bytes as they are and returns the answer's status and body.
func raw(t *testing.T, w *world, request string) (int, string, http.Header) {
	t.Helper()
	c := dial(t, w.socket)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("answer to %.80q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

func post(path, body string, headers ...string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s",
		path, len(body), strings.Join(headers, ""), body)
}

func TestRequestsAreReadStrictly(t *testing.T) {
	w := serve(t, fake{})
	for name, c := range map[string]struct {
		request string
		status  int
		says    string
	}{
		"an empty body asks for the defaults":        {post("/v1/switch", ""), 200, ""},
		"curl's content type does not matter":        {post("/v1/switch", `{"to":"green"}`, "Content-Type: application/x-www-form-urlencoded\r\n"), 200, ""},
		"an unknown field is refused":                {post("/v1/switch", `{"too":"green"}`), 400, `unknown field \"too\"`},
		"something behind the value is refused":      {post("/v1/switch", `{} {}`), 400, "more than one JSON value"},
		"rubbish behind the value is refused":        {post("/v1/switch", `{}x`), 400, "bad-request"},
		"a body that is not JSON is refused":         {post("/v1/hold", `force=true`), 400, "bad-request"},
		"a truncated value is refused":               {post("/v1/hold", `{"reason":`), 400, "bad-request"},
		"an unknown slot is refused":                 {post("/v1/switch", `{"to":"red"}`), 400, "unknown-slot"},
		"a negative wait is refused":                 {post("/v1/switch", `{"wait_ns":-1}`), 400, "wait_ns is negative"},
		"a reason of two lines is refused":           {post("/v1/switch", `{"reason":"a\nb"}`), 400, "one line"},
		"a reason that drives a terminal is refused": {post("/v1/hold", `{"reason":"\u001b[2J"}`), 400, "one line"},
		"a long reason is refused":                   {post("/v1/switch", `{"reason":"`+strings.Repeat("x", 501)+`"}`), 400, "501 bytes"},
		"a rollback to a named slot is refused":      {post("/v1/rollback", `{"to":"blue"}`), 400, "to choose one, switch"},
		"a body over the limit is refused":           {post("/v1/switch", `{"reason":"`+strings.Repeat("x", control.MaxBody)+`"}`), 413, "too-large"},
		"the wrong method is refused":                {post("/v1/status", ``), 404, "POST /v1/status"},
		"an unknown path is refused":                 {post("/v2/switch", ``), 404, "no-route"},
		"a history of nothing is refused":            {"GET /v1/history?limit=0 HTTP/1.1\r\nHost: unix\r\nConnection: close\r\n\r\n", 400, "limit must be"},
		"a limit that is no number is refused":       {"GET /v1/history?limit=-1 HTTP/1.1\r\nHost: unix\r\nConnection: close\r\n\r\n", 400, "not a number"},
		"no history is an empty list, not null":      {"GET /v1/history HTTP/1.1\r\nHost: unix\r\nConnection: close\r\n\r\n", 200, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, header := raw(t, w, c.request)
			if status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("got %d %s, want %d with %q", status, body, c.status, c.says)
			}
			if got := header.Get(control.VersionHeader); got != "v1" {
				t.Errorf("version header %q, want v1", got)
			}
		})
	}
}

func TestRequestsThatABrowserCouldSendAreRefused(t *testing.T) {
	done := make(chan struct{}, 100)
	w := serve(t, fake{move: func(context.Context, control.SwitchRequest, switcher.Actor) (switcher.Record, error) {
		done <- struct{}{}
		return switcher.Record{}, nil
	}})
	for _, header := range []string{
		"Origin: http://localhost", "Origin: null", "Referer: http://example.org/",
		"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate",
	} {
		status, body, _ := raw(t, w, post("/v1/switch", "", header+"\r\n"))
		if status != 403 || !strings.Contains(body, "browsers") {
			t.Errorf("%s: got %d %s, want 403", header, status, body)
		}
	}
	for host, want := range map[string]int{
		"localhost": 200, "charactier-proxy": 200, "unix": 200,
		"example.org": 403, "localhost:80": 403, "127.0.0.1": 403, "": 403,
	} {
		status, _, _ := raw(t, w, "POST /v1/switch HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		if status != want {
			t.Errorf("Host %q: got %d, want %d", host, status, want)
		}
	}
	if len(done) != 3 {
		t.Errorf("%d operations were done, want the 3 of the good hosts", len(done))
	}
}

func TestPanicInARequestIsAnsweredAndTheDaemonLives(t *testing.T) {
	w := serve(t, fake{move: func(context.Context, control.SwitchRequest, switcher.Actor) (switcher.Record, error) {
		panic("boom")
	}})
	_, err := w.client.Switch(t.Context(), control.SwitchRequest{})
	if !errors.Is(err, control.ErrInternal) {
		t.Errorf("got %v, want ErrInternal", err)
	}
	if w.logs.FilterMessage("a control request panicked").Len() != 1 {
		t.Error("the panic is not in the log")
	}
	if _, err := w.client.Status(t.Context()); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

func TestClientThatLeavesEndsItsOperation(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	w := serve(t, fake{move: func(ctx context.Context, _ control.SwitchRequest, _ switcher.Actor) (switcher.Record, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return switcher.Record{}, ctx.Err()
	}})
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-began
		leave()
	}()
	if _, err := w.client.Switch(ctx, control.SwitchRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	await(t, ended, "the operation to end")
}

// The read deadline that bounds a slow body must not outlive the body: to
// net/http a read that timed out is a client that left. It lifts the deadline
// itself, but not for a request without a body.
func TestOperationMayTakeLongerThanItsBody(t *testing.T) {
	const bodyTime = 50 * time.Millisecond
	w := serveWith(t, fake{move: func(ctx context.Context, _ control.SwitchRequest, _ switcher.Actor) (switcher.Record, error) {
		select {
		case <-ctx.Done():
			return switcher.Record{}, ctx.Err()
		case <-time.After(4 * bodyTime):
			return switcher.Record{ID: "op"}, nil
		}
	}}, func(s *control.Server) { s.SetPatience(time.Second, bodyTime, time.Second) })
	for _, body := range []string{"", "{}"} {
		if status, answer, _ := raw(t, w, post("/v1/switch", body)); status != 200 {
			t.Errorf("a long switch with the body %q: %d %s", body, status, answer)
		}
	}
}

func TestSlowClientsLoseTheirConnection(t *testing.T) {
	w := serveWith(t, fake{}, func(s *control.Server) {
		s.SetPatience(50*time.Millisecond, 50*time.Millisecond, time.Second)
	})
	for name, part := range map[string]string{
		"that send nothing":     "",
		"that send half a head": "POST /v1/switch HTTP/1.1\r\nHost: unix\r\n",
		"that send half a body": "POST /v1/switch HTTP/1.1\r\nHost: unix\r\nContent-Length: 10\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, w.socket)
			if _, err := io.WriteString(c, part); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(c); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Errorf("the server still waits: %v", err)
			}
		})
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestConnectionsAreBoundedAndGivenBack(t *testing.T) {
	w := serve(t, fake{})
	var held []net.Conn
	for range control.MaxAdminConns {
		held = append(held, dial(t, w.socket))
	}
	for range 20 {
		if _, err := w.client.Status(t.Context()); !errors.Is(err, control.ErrOverloaded) {
			t.Errorf("status with all places taken: got %v, want ErrOverloaded", err)
		}
		request := control.SwitchRequest{Reason: strings.Repeat("x", control.MaxBody/2)}
		if _, err := w.client.Switch(t.Context(), request); !errors.Is(err, control.ErrOverloaded) {
			t.Errorf("switch with all places taken: got %v, want ErrOverloaded", err)
		}
	}
	if status, body, _ := raw(t, w, "GET /v1/status HTTP/1.1\r\n"); status != 503 || !strings.Contains(body, "overloaded") {
		t.Errorf("with all places taken: got %d %s, want 503", status, body)
	}
	if err := held[0].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a place to be free", func() bool {
		_, err := w.client.Status(t.Context())
		return err == nil
	})
}

func TestServerStopsAlthoughAnOperationRuns(t *testing.T) {
	began := make(chan struct{})
	w := serve(t, fake{move: func(ctx context.Context, _ control.SwitchRequest, _ switcher.Actor) (switcher.Record, error) {
		close(began)
		<-ctx.Done()
		return switcher.Record{ID: "op", Outcome: switcher.Aborted}, switcher.ErrAborted
	}})
	result := make(chan error, 1)
	go func() {
		_, err := w.client.Switch(context.Background(), control.SwitchRequest{})
		result <- err
	}()
	await(t, began, "the switch to begin")
	w.stop()
	if err := <-result; !errors.Is(err, switcher.ErrAborted) {
		t.Errorf("got %v, want ErrAborted: answers under way are finished", err)
	}
	if _, err := w.client.Status(t.Context()); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("after the stop: got %v, want ErrUnreachable", err)
	}
}

func TestServingReportsAListenerThatBroke(t *testing.T) {
	s, err := control.NewServer(control.Options{Operations: fake{}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := control.Listen(t.Context(), publicDir(t)+"/s", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), ln); err == nil {
		t.Error("serving on a closed listener returned nil")
	}
}

func TestAuditLogNamesWhoDidWhat(t *testing.T) {
	w := serve(t, failing(switcher.Record{ID: "op-1", Outcome: switcher.Refused}, switcher.ErrUnhealthy))
	if _, err := w.client.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Hold(t.Context(), control.HoldRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Switch(t.Context(), control.SwitchRequest{}); err == nil {
		t.Fatal("the switch was not refused")
	}
	raw(t, w, post("/v1/abort", "", "Origin: x\r\n"))
	raw(t, w, post("/v1/reload", "{"))
	w.stop()

	var lines []string
	for _, entry := range w.logs.All() {
		if entry.LoggerName != "audit" {
			continue
		}
		f := entry.ContextMap()
		lines = append(lines, fmt.Sprintf("%s %s %s", f["route"], f["outcome"], entry.Level))
		if f["user"] != "root" || f["uid"] != uint32(0) || f["pid"] == int32(0) || !strings.Contains(fmt.Sprint(f["command"]), ".test") {
			t.Errorf("who: got %v", f)
		}
	}
	want := "/v1/hold done info\n/v1/switch refused warn\n/v1/abort forbidden warn\n/v1/reload done info"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("audit log:\n%s\nwant\n%s", got, want)
	}
}

// serveWith starts a server that change adjusts first.
func serveWith(t *testing.T, ops control.Operations, change func(*control.Server)) *world {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	s, err := control.NewServer(control.Options{Operations: ops, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	change(s)
	return serveServer(t, s, logs)
}

func await(t *testing.T, ch <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited too long for %s", what)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
