package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// idField is the request field that the slots write down.
const idField = "X-Chaos-Id"

// visitors send requests until their context ends. All of them write down each
// request, good or not.
type visitors struct {
	notes  *notes
	serial atomic.Int64
	all    sync.WaitGroup
}

// kinds is what visitors do, and how many of each come to each door.
var kinds = []struct {
	name   string
	think  time.Duration // between two visits
	crowd  map[string]int
	behave func(v *visitors, ctx context.Context, t *talk)
}{
	{"get", 4 * time.Millisecond, map[string]int{"direct": 2, "nginx": 1}, (*visitors).get},
	{"post", 4 * time.Millisecond, map[string]int{"direct": 2, "nginx": 2}, (*visitors).post},
	{"bare post", 10 * time.Millisecond, map[string]int{"direct": 2, "nginx": 1}, (*visitors).barePost},
	{"upload", 50 * time.Millisecond, map[string]int{"direct": 1, "nginx": 1}, (*visitors).upload},
	{"chunked upload", 50 * time.Millisecond, map[string]int{"direct": 1, "nginx": 1}, (*visitors).chunkedUpload},
	{"big", 30 * time.Millisecond, map[string]int{"direct": 1, "nginx": 1}, (*visitors).big},
	{"chunked", 20 * time.Millisecond, map[string]int{"direct": 1, "nginx": 1}, (*visitors).chunked},
	{"pipelined", 20 * time.Millisecond, map[string]int{"direct": 1}, (*visitors).pipelined},
	{"slow sender", 20 * time.Millisecond, map[string]int{"direct": 1, "nginx": 1}, (*visitors).slowSender},
	{"slow reader", 20 * time.Millisecond, map[string]int{"direct": 1}, (*visitors).slowReader},
	{"leaver", 10 * time.Millisecond, map[string]int{"direct": 1, "nginx": 1}, (*visitors).leaver},
	{"http/1.0", 20 * time.Millisecond, map[string]int{"direct": 1}, (*visitors).http10},
	{"h2c", 10 * time.Millisecond, map[string]int{"direct": 2}, (*visitors).h2c},
	{"events", 10 * time.Millisecond, map[string]int{"direct": 2, "nginx": 1}, (*visitors).events},
	{"websocket", 10 * time.Millisecond, map[string]int{"direct": 1, "nginx": 1}, (*visitors).websocket},
	{"stranger", 20 * time.Millisecond, map[string]int{"untrusted": 1}, (*visitors).stranger},
}

// come lets them all in by every door.
func (v *visitors) come(ctx context.Context, doors []door) {
	for _, k := range kinds {
		for _, d := range doors {
			for range k.crowd[d.way] {
				v.all.Go(func() {
					t := &talk{door: d}
					defer t.close()
					for ctx.Err() == nil {
						k.behave(v, ctx, t)
						pause(ctx, k.think/2+rand.N(k.think))
					}
				})
			}
		}
	}
}

func (v *visitors) begin(t *talk, kind, method string) visit {
	id := fmt.Sprintf("%s-%d", strings.ReplaceAll(kind, " ", "-"), v.serial.Add(1))
	return visit{ID: id, Kind: kind, Way: t.door.way, Service: t.door.service, Method: method, Begun: now()}
}

// head is a request's head with the fields that all have.
func (v visit) head(path string, fields ...string) []byte {
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: example.com\r\n%s: %s\r\nX-Request-Id: %s\r\n", v.Method, path, idField, v.ID, v.ID)
	for _, f := range fields {
		text += f + "\r\n"
	}
	return []byte(text + "\r\n")
}

// who is what the sample app says of itself in an answer.
type who struct {
	ID, Slot, Revision string
	Count              int
	SHA256             string
	Length             int
}

// judge makes a failure of an answer that is not the one to v.
func (v *visit) judge(a answer, wantID bool) (who, error) {
	var w who
	if err := json.Unmarshal(a.body, &w); err != nil {
		return w, troubled(wrong, fmt.Errorf("%w in %.200q", err, a.body))
	}
	v.Life = w.Revision
	if wantID && w.ID != v.ID {
		return w, troubled(wrong, fmt.Errorf("the answer bears the id %q", w.ID))
	}
	if got := a.Header.Get("X-Slot"); got != w.Slot {
		return w, troubled(wrong, fmt.Errorf("the head is of slot %q and the body of slot %q", got, w.Slot))
	}
	return w, nil
}

func (v *visitors) get(_ context.Context, t *talk) {
	r := v.begin(t, "get", http.MethodGet)
	a, err := t.exchange(r.Method, r.head("/api/v1/echo"))
	if err == nil {
		_, err = r.judge(a, true)
	}
	v.notes.finish(r, a.Response, err)
}

func (v *visitors) post(_ context.Context, t *talk) {
	r := v.begin(t, "post", http.MethodPost)
	a, err := t.exchange(r.Method, r.order())
	v.notes.finish(r, a.Response, r.ordered(a, err))
}

// barePost has no body, so that nothing but its method says that it must not be
// sent twice.
func (v *visitors) barePost(_ context.Context, t *talk) {
	r := v.begin(t, "bare post", http.MethodPost)
	a, err := t.exchange(r.Method, r.head("/api/v1/echo", "Content-Length: 0"))
	if err == nil {
		_, err = r.judge(a, true)
	}
	v.notes.finish(r, a.Response, err)
}

// order is the whole request that counts as executed.
func (v visit) order() []byte {
	body := `{"id":"` + v.ID + `"}`
	return append(v.head("/api/v1/orders", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", len(body))), body...)
}

func (v *visit) ordered(a answer, err error) error {
	if err != nil {
		return err
	}
	w, err := v.judge(a, true)
	if err == nil && w.Count != 1 {
		err = troubled(wrong, fmt.Errorf("the slot executed it for the %d. time", w.Count))
	}
	return err
}

// random is a body that nobody has seen before.
func random(size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	return body
}

func (v *visit) uploaded(a answer, err error, body []byte) error {
	if err != nil {
		return err
	}
	w, err := v.judge(a, false)
	sum := sha256.Sum256(body)
	if err == nil && (w.Length != len(body) || w.SHA256 != hex.EncodeToString(sum[:])) {
		err = troubled(wrong, fmt.Errorf("%d bytes arrived as %d, or as others", len(body), w.Length))
	}
	return err
}

func (v *visitors) upload(_ context.Context, t *talk) {
	r := v.begin(t, "upload", http.MethodPost)
	body := random(rand.IntN(300_000))
	a, err := t.exchange(r.Method, append(r.head("/api/v1/upload", fmt.Sprintf("Content-Length: %d", len(body))), body...))
	v.notes.finish(r, a.Response, r.uploaded(a, err, body))
}

func (v *visitors) chunkedUpload(_ context.Context, t *talk) {
	r := v.begin(t, "chunked upload", http.MethodPost)
	body := random(rand.IntN(100_000))
	request := r.head("/api/v1/upload", "Transfer-Encoding: chunked")
	for rest := body; len(rest) > 0; {
		n := min(1+rand.IntN(20_000), len(rest))
		request = fmt.Appendf(request, "%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	a, err := t.exchange(r.Method, append(request, "0\r\n\r\n"...))
	v.notes.finish(r, a.Response, r.uploaded(a, err, body))
}

// isBig checks what /api/v1/big answers.
func isBig(body []byte, size int) error {
	const piece = "charactier "
	want := strings.Repeat(piece, size/len(piece)+1)[:size]
	if string(body) != want {
		return troubled(wrong, fmt.Errorf("the %d bytes that came are not the %d that were asked for", len(body), size))
	}
	return nil
}

func (v *visitors) big(_ context.Context, t *talk) {
	r := v.begin(t, "big", http.MethodGet)
	size := rand.IntN(500_000)
	a, err := t.exchange(r.Method, r.head(fmt.Sprintf("/api/v1/big?bytes=%d", size)))
	if err == nil {
		err = isBig(a.body, size)
	}
	v.notes.finish(r, a.Response, err)
}

func (v *visitors) chunked(_ context.Context, t *talk) {
	r := v.begin(t, "chunked", http.MethodGet)
	a, err := t.exchange(r.Method, r.head("/api/v1/chunked?pieces=20&interval=2"))
	if err == nil {
		want := ""
		for n := range 20 {
			want += fmt.Sprintf("piece %d\n", n+1)
		}
		if string(a.body) != want {
			err = troubled(wrong, fmt.Errorf("got the pieces %q", a.body))
		}
	}
	v.notes.finish(r, a.Response, err)
}
