package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// pipelined sends several requests at once and reads the answers in order.
func (v *visitors) pipelined(_ context.Context, t *talk) {
	if err := t.ready(); err != nil {
		v.notes.finish(v.begin(t, "pipelined", http.MethodGet), nil, err)
		return
	}
	var asked []visit
	var all []byte
	for n := range 4 {
		r := v.begin(t, "pipelined", http.MethodGet)
		request := r.head("/api/v1/echo")
		if n%2 == 1 {
			r.Method = http.MethodPost
			request = r.order()
		}
		asked, all = append(asked, r), append(all, request...)
	}
	_, written := t.conn.Write(all)
	var over error // why nothing more will be answered
	for _, r := range asked {
		if over != nil {
			v.notes.finish(r, nil, over)
			continue
		}
		a, err := t.take(r.Method)
		switch {
		case err == nil && r.Method == http.MethodPost:
			err = r.ordered(a, nil)
		case err == nil:
			_, err = r.judge(a, true)
		}
		v.notes.finish(r, a.Response, err)
		if a.Response == nil {
			over = troubled(symptomOf(err), errors.Join(err, written))
		} else if a.Close {
			over = troubled(behind, errors.New("the answer before announced the end of the connection"))
		}
	}
	if over != nil {
		t.close()
	}
}

// slowSender gives its body in drips.
func (v *visitors) slowSender(ctx context.Context, t *talk) {
	r := v.begin(t, "slow sender", http.MethodPost)
	if err := t.ready(); err != nil {
		v.notes.finish(r, nil, err)
		return
	}
	body := random(4000)
	_, err := t.conn.Write(r.head("/api/v1/upload", fmt.Sprintf("Content-Length: %d", len(body))))
	for drip := range slices.Chunk(body, 500) {
		if err == nil {
			time.Sleep(20 * time.Millisecond)
			_, err = t.conn.Write(drip)
		}
	}
	a, err := t.take(r.Method)
	if err != nil || a.Close {
		t.close()
	}
	v.notes.finish(r, a.Response, r.uploaded(a, err, body))
}

// slowReader takes a large answer in small pieces.
func (v *visitors) slowReader(_ context.Context, t *talk) {
	r := v.begin(t, "slow reader", http.MethodGet)
	const size = 3_000_000
	if err := t.ready(); err != nil {
		v.notes.finish(r, nil, err)
		return
	}
	t.conn.Write(r.head(fmt.Sprintf("/api/v1/big?bytes=%d", size)))
	resp, err := t.receive(r.Method)
	if symptomOf(err) == noAnswer && t.answered > 0 {
		err = troubled(idleEnded, err)
	}
	t.answered++
	if err != nil {
		t.close()
		v.notes.finish(r, nil, err)
		return
	}
	var body []byte
	piece := make([]byte, 64<<10)
	for err == nil {
		var n int
		n, err = resp.Body.Read(piece)
		body = append(body, piece[:n]...)
		time.Sleep(5 * time.Millisecond)
	}
	switch {
	case !errors.Is(err, io.EOF):
		err = troubled(lateOr(err, cutOr(err, wrong)), err)
	case resp.StatusCode != http.StatusOK:
		err = statusTrouble(resp, body)
	default:
		err = isBig(body, size)
	}
	if err != nil || resp.Close {
		t.close()
	}
	v.notes.finish(r, resp, err)
}

// leaver goes before the answer has come, at any moment.
func (v *visitors) leaver(ctx context.Context, t *talk) {
	r := v.begin(t, "leaver", http.MethodPost)
	if err := t.ready(); err != nil {
		v.notes.finish(r, nil, err)
		return
	}
	request := r.order()
	if rand.IntN(3) == 0 {
		request = request[:rand.IntN(len(request))]
	}
	t.conn.Write(request)
	pause(ctx, rand.N(10*time.Millisecond))
	t.close()
	v.notes.finish(r, nil, troubled(left, errors.New("it left")))
}

// http10 has no keep-alive and no chunks.
func (v *visitors) http10(_ context.Context, t *talk) {
	r := v.begin(t, "http/1.0", http.MethodGet)
	const size = 20_000
	request := fmt.Appendf(nil, "GET /api/v1/big?bytes=%d HTTP/1.0\r\n%s: %s\r\n\r\n", size, idField, r.ID)
	a, err := t.exchange(r.Method, request)
	if err == nil {
		err = isBig(a.body, size)
	}
	t.close()
	v.notes.finish(r, a.Response, err)
}

// stranger claims what only a trusted peer may say, and sees what of it arrived
// (P5).
func (v *visitors) stranger(_ context.Context, t *talk) {
	r := v.begin(t, "stranger", http.MethodGet)
	const lie = "203.0.113.66"
	a, err := t.exchange(r.Method, r.head("/api/v1/echo",
		"X-Forwarded-For: "+lie, "X-Real-IP: "+lie, "Forwarded: for="+lie, "X-Forwarded-Proto: https",
		"X-Forwarded-Host: "+lie, "True-Client-IP: "+lie, "X_Forwarded_For: "+lie,
		"Keep-Alive: "+lie, "Connection: X-Forwarded-For, X-Secret", "X-Secret: "+lie))
	if err == nil {
		err = strange(&r, a, lie, t.door.from)
	}
	v.notes.finish(r, a.Response, err)
}

func strange(r *visit, a answer, lie, from string) error {
	if _, err := r.judge(a, false); err != nil {
		return err
	}
	var got struct {
		IP, Protocol string
		RawHeaders   []string
	}
	if err := json.Unmarshal(a.body, &got); err != nil {
		return troubled(wrong, err)
	}
	if got.IP != from || got.Protocol != "http" || strings.Contains(strings.Join(got.RawHeaders, "\n"), lie) {
		return troubled(wrong, fmt.Errorf("P5: a stranger's claim reached the slot: ip %s, %s, %q", got.IP, got.Protocol, got.RawHeaders))
	}
	return nil
}
