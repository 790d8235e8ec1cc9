package chaos

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/load"
	"charactier-proxy/switcher"
)

// visitTime is how long a client waits for the whole of an answer: longer than
// any fault lasts.
const visitTime = 40 * time.Second

// door is an address that visitors come to.
type door struct {
	service, way, addr string
	// from is the client's own address; empty: whichever.
	from string
}

// talk is one keep-alive connection of HTTP/1.1 that sends nothing twice, unlike
// net/http's client.
type talk struct {
	door door
	conn net.Conn
	r    *bufio.Reader
	// answered counts the requests on this connection.
	answered int
}

// trouble is a symptom with what there is to say about it.
type trouble struct {
	symptom symptom
	err     error
}

func (t *trouble) Error() string { return string(t.symptom) + ": " + t.err.Error() }

func troubled(s symptom, err error) error { return &trouble{s, err} }

// ready sees to a connection that is open as far as one can know without
// writing to it.
func (t *talk) ready() error {
	if t.conn != nil {
		err := load.Look(t.conn, t.r)
		if err == nil {
			return t.conn.SetDeadline(time.Now().Add(visitTime))
		}
		t.close()
		if !errors.Is(err, load.ErrClosedByPeer) {
			return troubled(wrong, err)
		}
	}
	dialer := net.Dialer{Timeout: visitTime}
	if t.door.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(t.door.from)}
	}
	conn, err := dialer.Dial("tcp", t.door.addr)
	if err != nil {
		return troubled(refused, err)
	}
	t.conn, t.r, t.answered = conn, bufio.NewReader(conn), 0
	return conn.SetDeadline(time.Now().Add(visitTime))
}

func (t *talk) close() {
	if t.conn != nil {
		t.conn.Close()
		t.conn = nil
	}
}

// answer is what came back, with its whole body.
type answer struct {
	*http.Response
	body []byte
}

// receive reads the head of an answer, and says what is wrong with it.
func (t *talk) receive(method string) (*http.Response, error) {
	if _, err := t.r.Peek(1); err != nil {
		return nil, troubled(lateOr(err, noAnswer), err)
	}
	for {
		resp, err := http.ReadResponse(t.r, &http.Request{Method: method})
		if err != nil {
			return nil, troubled(lateOr(err, cutOr(err, wrong)), err)
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
}

// take reads the whole of an answer.
func (t *talk) take(method string) (answer, error) {
	resp, err := t.receive(method)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, troubled(lateOr(err, cutOr(err, wrong)), fmt.Errorf("after %d bytes of an answer %s: %w", len(body), resp.Status, err))
	}
	a := answer{resp, body}
	return a, a.trouble()
}

// exchange writes a request and takes its answer. An answer may come although
// the request could not be written to its end.
func (t *talk) exchange(method string, request []byte) (answer, error) {
	if err := t.ready(); err != nil {
		return answer{}, err
	}
	_, written := t.conn.Write(request)
	a, err := t.take(method)
	if symptomOf(err) == noAnswer && t.answered > 0 {
		err = troubled(idleEnded, err)
	}
	t.answered++
	if err != nil && written != nil {
		err = troubled(symptomOf(err), errors.Join(err, written))
	}
	if err != nil || a.Close {
		t.close()
	}
	return a, err
}

// trouble says whether the answer is an error.
func (a answer) trouble() error { return statusTrouble(a.Response, a.body) }

func statusTrouble(resp *http.Response, body []byte) error {
	if resp.StatusCode < 300 {
		return nil
	}
	err := fmt.Errorf("%s: %.200s", resp.Status, bytes.TrimSpace(body))
	if cause := resp.Header.Get("X-Charactier-Proxy-Error"); cause != "" {
		return troubled(symptom("error "+cause), err)
	}
	fromNginx := strings.HasPrefix(resp.Header.Get("Server"), "nginx") && resp.Header.Get("X-Slot") == ""
	if fromNginx && (resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusGatewayTimeout) {
		return troubled(byNginx, err)
	}
	return troubled(otherError, err)
}

func symptomOf(err error) symptom {
	if t, ok := errors.AsType[*trouble](err); ok {
		return t.symptom
	}
	if err != nil {
		return wrong
	}
	return good
}

func lateOr(err error, s symptom) symptom {
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return late
	}
	return s
}

// cutOr tells an end of the connection from an answer that is no HTTP.
func cutOr(err error, s symptom) symptom {
	_, broken := errors.AsType[*net.OpError](err)
	if broken || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || strings.Contains(err.Error(), "unexpected EOF") {
		return cut
	}
	return s
}

// finish writes down what came of a visit.
func (n *notes) finish(v visit, resp *http.Response, err error) {
	v.Ended = now()
	if resp != nil {
		v.Slot = switcher.Slot(resp.Header.Get("X-Slot"))
	}
	v.Symptom = symptomOf(err)
	if err != nil {
		v.Detail = err.Error()
	}
	n.visited(v)
}
