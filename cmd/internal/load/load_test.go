package load_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/load"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted serves raw connections: for each request it writes what answer says,
// and closes the connection where that ends in "<close>".
func scripted(t *testing.T, answer func(r *http.Request) string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { converse(conn, answer) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func converse(conn net.Conn, answer func(r *http.Request) string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		text, closes := strings.CutSuffix(answer(req), "<close>")
		if _, err := io.WriteString(conn, text); err != nil || closes {
			return
		}
	}
}

func body(r *http.Request) string {
	return fmt.Sprintf(`{"id":%q,"slot":"blue"}`, r.Header.Get("X-Request-Id"))
}

func sized(head, body string) string {
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

const ok = "HTTP/1.1 200 OK\r\n"

// TestAnswers sends two requests by one client to each kind of server.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name   string
		answer func(r *http.Request) string
		want   map[load.Kind]int64
	}{
		{"a sized answer is good", func(r *http.Request) string { return sized(ok, body(r)) }, nil},
		{"a chunked answer with trailers is good", func(r *http.Request) string {
			b := body(r)
			return fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n1\r\n%s\r\n%x\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n", ok, b[:1], len(b)-1, b[1:])
		}, nil},
		{"interim answers are skipped", func(r *http.Request) string {
			return "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + sized(ok, body(r))
		}, nil},
		{"an announced close is no failure", func(r *http.Request) string {
			return sized(ok+"Connection: close\r\n", body(r)) + "<close>"
		}, nil},
		{"a reset is a failure", func(*http.Request) string { return "<close>" }, map[load.Kind]int64{load.Reset: 2}},
		{"a short body is a failure", func(r *http.Request) string {
			return ok + "Content-Length: 1000\r\n\r\n" + body(r) + "<close>"
		}, map[load.Kind]int64{load.Reset: 2}},
		{"a chunked body without its end is a failure", func(r *http.Request) string {
			return fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n<close>", ok, len(body(r)), body(r))
		}, map[load.Kind]int64{load.Reset: 2}},
		{"a chunk longer than its size is a failure", func(r *http.Request) string {
			return ok + "Transfer-Encoding: chunked\r\n\r\n3\r\n" + body(r) + "\r\n0\r\n\r\n"
		}, map[load.Kind]int64{load.Malformed: 2}},
		{"a body without length is a failure", func(r *http.Request) string {
			return ok + "\r\n" + body(r) + "<close>"
		}, map[load.Kind]int64{load.Malformed: 2}},
		{"two lengths are a failure", func(r *http.Request) string {
			return sized(ok+"Transfer-Encoding: chunked\r\n", body(r))
		}, map[load.Kind]int64{load.Malformed: 2}},
		{"a bare LF is a failure", func(r *http.Request) string {
			return sized("HTTP/1.1 200 OK\n", body(r))
		}, map[load.Kind]int64{load.Malformed: 2}},
		{"a space before the colon is a failure", func(r *http.Request) string {
			return sized(ok+"X-A : 1\r\n", body(r))
		}, map[load.Kind]int64{load.Malformed: 2}},
		{"a second answer is a failure of the next request", func(r *http.Request) string {
			return sized(ok, body(r)) + sized(ok, body(r))
		}, map[load.Kind]int64{load.Malformed: 1}},
		{"a 503 is a failure", func(r *http.Request) string {
			return sized("HTTP/1.1 503 Service Unavailable\r\n", body(r))
		}, map[load.Kind]int64{load.BadStatus: 2}},
		{"a redirect is a failure", func(r *http.Request) string {
			return sized("HTTP/1.1 302 Found\r\nLocation: /\r\n", body(r))
		}, map[load.Kind]int64{load.BadStatus: 2}},
		{"a stranger's id is a failure", func(*http.Request) string {
			return sized(ok, `{"id":"x","slot":"blue"}`)
		}, map[load.Kind]int64{load.WrongAnswer: 2}},
		{"an unknown slot is a failure", func(r *http.Request) string {
			return sized(ok, strings.ReplaceAll(body(r), "blue", "red"))
		}, map[load.Kind]int64{load.WrongAnswer: 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			addr := scripted(t, test.answer)
			got := load.New(load.Options{Addr: addr, Requests: 2}).Run(t.Context())
			want := test.want
			if want == nil {
				want = map[load.Kind]int64{}
			}
			if diff := cmp.Diff(want, got.ByKind); diff != "" {
				t.Errorf("failures by kind (-want +got):\n%s\n%s", diff, got)
			}
			if got.Sent != 2 || got.Good+got.Failed != 2 {
				t.Errorf("sent %d, good %d, failed %d; want 2 in all", got.Sent, got.Good, got.Failed)
			}
		})
	}
}

func TestEveryRequestIsSentOnceWithAnIDOfItsOwn(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]int{}
	methods := map[string]int64{}
	addr := scripted(t, func(r *http.Request) string {
		mu.Lock()
		defer mu.Unlock()
		seen[r.Header.Get("X-Request-Id")]++
		methods[r.Method]++
		return sized(ok, body(r))
	})
	got := load.New(load.Options{Addr: addr, Clients: 8, Requests: 400, GetEvery: 4}).Run(t.Context())
	if got.Sent != 400 || got.Failed != 0 {
		t.Fatalf("want 400 sent and none failed: %s", got)
	}
	if len(seen) != 400 {
		t.Errorf("the server saw %d ids, want 400", len(seen))
	}
	if methods["GET"] == 0 || methods["POST"] != got.Posts {
		t.Errorf("methods %v, want some GETs and %d POSTs", methods, got.Posts)
	}
	if got.BySlot["blue"] != 400 || got.Connections != 8 || got.Reused != 392 {
		t.Errorf("want all 400 answers from blue by 8 connections: %s", got)
	}
}

// TestAConnectionClosedWhileThinkingIsOpenedAnew closes each connection behind
// its answer without a word; the next request must not meet that close.
func TestAConnectionClosedWhileThinkingIsOpenedAnew(t *testing.T) {
	addr := scripted(t, func(r *http.Request) string { return sized(ok, body(r)) + "<close>" })
	got := load.New(load.Options{Addr: addr, Requests: 3, Think: 200 * time.Millisecond}).Run(t.Context())
	if got.Failed != 0 || got.Connections != 3 || got.Reopened != 2 {
		t.Errorf("want 3 connections, 2 of them reopened: %s", got)
	}
}

func TestAnAnnouncedCloseIsNoSurprise(t *testing.T) {
	addr := scripted(t, func(r *http.Request) string { return sized(ok+"Connection: close\r\n", body(r)) + "<close>" })
	got := load.New(load.Options{Addr: addr, Requests: 3, Think: 20 * time.Millisecond}).Run(t.Context())
	if got.Failed != 0 || got.Connections != 3 || got.Reopened != 0 {
		t.Errorf("want 3 connections, none of them found closed: %s", got)
	}
}

func TestARefusedConnectionIsAFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	got := load.New(load.Options{Addr: l.Addr().String(), Requests: 1}).Run(t.Context())
	if got.ByKind[load.NotConnected] != 1 || len(got.Failures) != 1 {
		t.Errorf("want one failure, not connected: %s", got)
	}
}

func TestAnAnswerThatDoesNotComeIsAFailure(t *testing.T) {
	release := make(chan struct{})
	addr := scripted(t, func(*http.Request) string { <-release; return "<close>" })
	got := load.New(load.Options{Addr: addr, Requests: 1, Timeout: 50 * time.Millisecond}).Run(t.Context())
	close(release)
	if got.ByKind[load.TimedOut] != 1 {
		t.Errorf("want one failure, timed out: %s", got)
	}
}

func TestCheckMakesAFailureOfAGoodAnswer(t *testing.T) {
	addr := scripted(t, func(r *http.Request) string { return sized(ok, body(r)) })
	got := load.New(load.Options{Addr: addr, Requests: 2, Check: func(a load.Answer) error {
		if a.Slot != "blue" || a.Ended.Before(a.Started) {
			return nil
		}
		return errors.New("answered by a drained slot")
	}}).Run(t.Context())
	if got.ByKind[load.WrongAnswer] != 2 {
		t.Errorf("want two failures by Check: %s", got)
	}
}

func TestARequestUnderWayIsWaitedForWhenTheLoadEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var n atomic.Int64
	addr := scripted(t, func(r *http.Request) string {
		if n.Add(1) == 3 {
			cancel()
		}
		return sized(ok, body(r))
	})
	got := load.New(load.Options{Addr: addr}).Run(ctx)
	if got.Good != 3 || got.Failed != 0 {
		t.Errorf("want 3 good and none failed: %s", got)
	}
}
