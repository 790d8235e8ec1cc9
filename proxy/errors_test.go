package proxy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"

	"github.com/google/go-cmp/cmp"
)

func TestEveryCauseHasAnAnswer(t *testing.T) {
	for c, v := range verdicts {
		if v.status < 400 || v.detail == "" || v.by == "" {
			t.Errorf("%s: %+v", c, v)
		}
		if c.ofSlot() != (v.by == partySlot) || strings.HasPrefix(string(c), "client-") != (v.by == partyClient) {
			t.Errorf("%s is said to be the %s's doing", c, v.by)
		}
		if strings.HasSuffix(string(c), "-timeout") && v.status != http.StatusGatewayTimeout {
			t.Errorf("%s is answered %d", c, v.status)
		}
	}
	if v := cause("slot-of-tomorrow").verdict(); v.status != 502 || v.by != partySlot {
		t.Errorf("an unknown fault of the slot: %+v", v)
	}
	if v := cause("what").verdict(); v.by != partyProxy {
		t.Errorf("an unknown cause: %+v", v)
	}
}

func TestAnErrorIsToldInTheFormTheClientAsksFor(t *testing.T) {
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for accept, want := range map[string]string{
		"":                                    problemMediaType,
		"*/*":                                 problemMediaType,
		"application/json":                    problemMediaType,
		"application/json, text/plain, */*":   problemMediaType,
		"application/json, text/html;q=0.9":   problemMediaType,
		"text/html, application/json":         problemMediaType,
		"text/html;q=0, */*":                  problemMediaType,
		"text/html;q=x":                       problemMediaType,
		"image/png":                           problemMediaType,
		"text/html":                           pageMediaType,
		"TEXT/HTML ; q=0.5":                   pageMediaType,
		"application/json;q=0.5, text/html":   pageMediaType,
		"text/html, application/problem+json": problemMediaType,
		browser:                               pageMediaType,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		w := httptest.NewRecorder()
		writeError(w, r, causeHeldTooLong, "id-1")
		if got := w.Header().Get("Content-Type"); got != want {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
}

func TestAnErrorNamesItsCauseAndTheRequest(t *testing.T) {
	f := startFront(t, proxytest.Refused(t), impatient)
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, body := c.whole("GET")
	var got problem
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := problem{
		Type: "about:blank", Title: "Service Unavailable", Status: 503, Cause: causeDown,
		Detail: verdicts[causeDown].detail, RequestID: res.Header.Get(requestIDField),
	}
	if diff := cmp.Diff(want, got); diff != "" || got.RequestID == "" {
		t.Errorf("problem (-want +got):\n%s", diff)
	}
	if res.StatusCode != 503 || res.Header.Get(errorCauseField) != "slot-down-too-long" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	if res.Close {
		t.Error("the client's connection ends for a fault of the slot")
	}
	if e := f.entry(1); e["request_id"] != got.RequestID || e["caused_by"] != "slot" {
		t.Errorf("access log: %v", e)
	}
}

func TestHeadGetsTheFieldsOfAnErrorAndNoBody(t *testing.T) {
	c := startFront(t, proxytest.Refused(t), impatient).dial()
	for range 2 { // on one connection: nothing of a body is in the way
		c.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
		res := c.answer("HEAD")
		if res.StatusCode != 503 || res.ContentLength <= 0 || res.Header.Get("Content-Type") != problemMediaType {
			t.Errorf("%s, length %d, %v", res.Status, res.ContentLength, res.Header)
		}
	}
}

func TestAHandshakeGetsAStatusOnly(t *testing.T) {
	c := startFront(t, proxytest.Refused(t), impatient).dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if res, body := c.whole("GET"); res.StatusCode != 503 || body != "" || res.Header.Get(errorCauseField) == "" {
		t.Errorf("%s %q %v", res.Status, body, res.Header)
	}
}

func TestAGRPCCallGetsAStatusOfItsOwnKind(t *testing.T) {
	f := startFront(t, proxytest.Refused(t), impatient, func(o *frontOptions) { o.service.Protocol = H2C })
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+f.addr+"/pkg.Service/Call", strings.NewReader("xxxxx"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc+proto")
	res, err := newClient(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Grpc-Status") != "14" || res.Header.Get("Content-Type") != "application/grpc" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	if got := grpcMessage("100% größer"); got != "100%25 gr%C3%B6%C3%9Fer" {
		t.Errorf("message %q", got)
	}
}

func TestAPageEscapesWhatItShows(t *testing.T) {
	p := problem{Title: "<t>", Detail: "<d>", Cause: "<c>", RequestID: `"<i>`}
	page := string(p.page())
	for _, raw := range []string{"<t>", "<d>", "<c>", "<i>", "http"} {
		if strings.Contains(page, raw) {
			t.Errorf("the page has %q", raw)
		}
	}
}

func TestARequestHeldForTooLongIsToldWhenToComeBack(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.HoldTime = time.Millisecond })
	f.proxy.Hold("backend")
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, _ := c.whole("GET")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get(errorCauseField) != "held-too-long" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	if e := f.entry(1); e["caused_by"] != "operator" {
		t.Errorf("access log: %v", e)
	}
}

func TestOverTheBoundOfAHoldRequestsAreTurnedAway(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr(), func(o *frontOptions) { o.service.HoldRequests = 1 })
	f.proxy.Hold("backend")
	waiting := f.dial()
	waiting.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	f.await("a request to wait", func() bool { return f.proxy.Waiting("backend") == 1 })
	c := f.dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if res, _ := c.whole("GET"); res.StatusCode != 503 || res.Header.Get(errorCauseField) != "hold-full" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	f.proxy.Release("backend")
	if res, _ := waiting.whole("GET"); res.StatusCode != 200 {
		t.Errorf("the one that waited: %s", res.Status)
	}
	if held := f.entry(2)["held"]; held == nil {
		t.Error("the access log does not say that it waited")
	}
}

// HTML standard, section 9.2.3: after any answer but 200 an EventSource never
// comes back.
func TestAnEventSourceIsDroppedRatherThanTurnedAway(t *testing.T) {
	f := startFront(t, proxytest.Refused(t), impatient)
	for n, held := range []bool{true, false} {
		if held {
			f.proxy.Hold("backend")
		} else {
			f.proxy.Release("backend")
		}
		c := f.dial()
		c.say("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
		c.ended()
		if e := f.entry(n + 1); e["aborted"] != true || e["cause"] == nil {
			t.Errorf("held %v: access log: %v", held, e)
		}
	}
}

func TestAClientThatLeavesAHoldLeavesNothingBehind(t *testing.T) {
	slot, _ := recordHeads(t)
	f := startFront(t, slot.Addr()) // whose grace for half-closed clients is long: it does not hold here
	f.proxy.Hold("backend")
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\nhello",
	} {
		c := f.dial()
		c.say(request)
		f.await("the request to wait", func() bool { return f.proxy.Waiting("backend") == 1 })
		c.Close()
		f.await("its end", func() bool { return f.proxy.Waiting("backend") == 0 })
	}
	f.proxy.Release("backend")
	if slot.Accepted() != 0 {
		t.Error("the slot saw a request of a client that had left")
	}
}

func TestAServiceThatIsNotThereIsAnswered503(t *testing.T) {
	p := New(Options{})
	w := httptest.NewRecorder()
	p.Handler("nobody").ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 503 || w.Header().Get(errorCauseField) != "no-service" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestAnErrorIsNeverGluedToAnAnswerThatBeganWell(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
	})
	c := startFront(t, slot.Addr()).dial()
	c.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	b, _ := io.ReadAll(c.answer("GET").Body)
	if string(b) != "begun" {
		t.Errorf("body %q", b)
	}
}

func TestCausesOfTheContextAreToldApart(t *testing.T) {
	shutdown, cut := context.WithCancelCause(t.Context())
	cut(errShutdown)
	left, leave := context.WithCancel(t.Context())
	leave()
	for _, tt := range []struct {
		ctx  context.Context
		err  error
		want cause
	}{
		{shutdown, errShutdown, causeShuttingDown},
		{left, context.Canceled, causeClientGone},
		{t.Context(), &slotError{cause: causeReset, err: io.EOF}, causeReset},
		{t.Context(), &clientBodyError{errBodyTooLarge}, causeBodyTooLarge},
		{t.Context(), io.EOF, causeInternal},
	} {
		x := &relay{r: httptest.NewRequestWithContext(tt.ctx, "GET", "/", nil)}
		if got := x.classify(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
