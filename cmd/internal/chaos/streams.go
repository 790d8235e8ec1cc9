package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// streamTime bounds how long a visitor stays in one stream.
const streamTime = 6 * time.Second

// h2c speaks HTTP/2 without TLS; a connection carries a few requests.
func (v *visitors) h2c(_ context.Context, t *talk) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, Timeout: visitTime}
	for n := range 20 {
		r := v.begin(t, "h2c", []string{http.MethodGet, http.MethodPost}[n%2])
		a, err := r.overHTTP2(&client, t.door.addr)
		v.notes.finish(r, a.Response, err)
		if err != nil {
			return
		}
	}
}

func (v *visit) overHTTP2(client *http.Client, addr string) (answer, error) {
	path, body := "/api/v1/echo", ""
	if v.Method == http.MethodPost {
		path, body = "/api/v1/orders", `{"id":"`+v.ID+`"}`
	}
	// A body of a type that it does not know is none that net/http could send again.
	req, err := http.NewRequest(v.Method, "http://"+addr+path, io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return answer{}, err
	}
	if body == "" {
		req.Body = http.NoBody
	}
	req.Header.Set(idField, v.ID)
	req.Header.Set("X-Request-Id", v.ID)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, troubled(lateOr(err, dialOr(err, goAwayOr(err, noAnswer))), err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, troubled(lateOr(err, cut), err)
	}
	a := answer{resp, text}
	if err := a.trouble(); err != nil {
		return a, err
	}
	if v.Method == http.MethodPost {
		return a, v.ordered(a, nil)
	}
	_, err = v.judge(a, true)
	return a, err
}

func dialOr(err error, s symptom) symptom {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return refused
	}
	return s
}

// goAwayOr tells a request that the server said it would not process from one
// of which nobody knows. The client could send it again, and does so by itself
// where it can.
func goAwayOr(err error, s symptom) symptom {
	if strings.Contains(err.Error(), "Server's graceful shutdown GOAWAY") {
		return turnedAway
	}
	return s
}

// events reads an event stream, and goes on behind the last event that came
// whole.
func (v *visitors) events(ctx context.Context, t *talk) {
	last := 0
	for stays := time.Now().Add(streamTime); ctx.Err() == nil && time.Now().Before(stays); {
		r := v.begin(t, "events", http.MethodGet)
		t.close()
		resp, err := t.open(r.head("/api/v1/events?interval=20", "Accept: text/event-stream", "Last-Event-ID: "+strconv.Itoa(last)))
		if err == nil {
			t.conn.SetDeadline(time.Now().Add(visitTime))
			err = r.follow(resp, &last, func() bool { return ctx.Err() != nil || time.Now().After(stays) })
		}
		t.close()
		v.notes.finish(r, resp, err)
		if err != nil {
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// open sends a request and reads the head of its answer.
func (t *talk) open(request []byte) (*http.Response, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	_, written := t.conn.Write(request)
	resp, err := t.receive(http.MethodGet)
	if err != nil {
		return nil, troubled(symptomOf(err), errors.Join(err, written))
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp, troubled(lateOr(err, cutOr(err, wrong)), err)
	}
	return resp, statusTrouble(resp, body)
}

// follow reads events until enough says so, and tells how the stream ended. All
// are of one process, and none is missing.
func (v *visit) follow(resp *http.Response, last *int, enough func() bool) error {
	var text []byte
	piece := make([]byte, 4096)
	for !enough() {
		n, err := resp.Body.Read(piece)
		text = append(text, piece[:n]...)
		for {
			event, rest, whole := bytes.Cut(text, []byte("\n\n"))
			if !whole {
				break
			}
			if err := v.take(event, last); err != nil {
				return err
			}
			text = rest
		}
		switch {
		case err == nil:
		case len(text) > 0:
			return troubled(lateOr(err, torn), fmt.Errorf("after %q: %w", text, err))
		default:
			return troubled(lateOr(err, ended), err)
		}
	}
	return nil
}

// take checks one event.
func (v *visit) take(event []byte, last *int) error {
	_, data, found := bytes.Cut(event, []byte("data: "))
	if !found {
		return nil // the retry time, or a heartbeat
	}
	var e struct {
		ID             int
		Slot, Revision string
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return troubled(wrong, fmt.Errorf("event %q: %w", event, err))
	}
	if e.ID != *last+1 {
		return troubled(wrong, fmt.Errorf("event %d follows event %d", e.ID, *last))
	}
	if v.Life != "" && v.Life != e.Revision {
		return troubled(wrong, fmt.Errorf("P1: the stream of life %s goes on in life %s", v.Life, e.Revision))
	}
	*last, v.Life = e.ID, e.Revision
	return nil
}

// websocket sends messages to an echo, each when the one before is back.
func (v *visitors) websocket(ctx context.Context, t *talk) {
	r := v.begin(t, "websocket", http.MethodGet)
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), visitTime)
	defer cancel()
	conn, resp, err := websocket.Dial(bounded, "ws://"+t.door.addr+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		HTTPHeader: http.Header{idField: {r.ID}},
	})
	if err != nil {
		v.notes.finish(r, resp, handshakeTrouble(resp, err))
		return
	}
	defer conn.CloseNow()
	for stays := time.Now().Add(streamTime); err == nil && ctx.Err() == nil && time.Now().Before(stays); {
		err = echo(bounded, conn)
		pause(ctx, 10*time.Millisecond)
	}
	v.notes.finish(r, resp, err)
}

func handshakeTrouble(resp *http.Response, err error) error {
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return statusTrouble(resp, []byte(err.Error()))
	}
	return troubled(lateOr(err, dialOr(err, noAnswer)), err)
}

func echo(ctx context.Context, conn *websocket.Conn) error {
	message := random(1 + rand.IntN(2000))
	err := conn.Write(ctx, websocket.MessageBinary, message)
	if err != nil {
		return troubled(lateOr(err, ended), err)
	}
	_, got, err := conn.Read(ctx)
	switch {
	case err != nil && strings.Contains(err.Error(), "payload"):
		return troubled(lateOr(err, torn), err)
	case err != nil:
		return troubled(lateOr(err, ended), err)
	case !bytes.Equal(got, message):
		return troubled(wrong, fmt.Errorf("a message of %d bytes came back as one of %d, or changed", len(message), len(got)))
	}
	return nil
}
