package proxy

import (
	"io"
	"net/http/httputil"
	"testing"
	"time"

	"charactier-proxy/proxy/proxytest"
)

// slowBody gives byte after byte, each after a pause.
type slowBody struct {
	left  int
	pause time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	<-time.After(b.pause)
	b.left--
	p[0] = 'x'
	return 1, nil
}

// The wait for an answer begins when the request is out, also after a 100: an
// upload may take as long as it likes.
func TestAnUploadThatWasAskedForMayTakeLongerThanItsAnswer(t *testing.T) {
	const limit = 300 * time.Millisecond
	for name, length := range map[string]int64{"of known length": 4, "in chunks": -1} {
		t.Run(name, func(t *testing.T) {
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				c.Head()
				c.Say("HTTP/1.1 100 Continue\r\n\r\n")
				body := io.LimitReader(c, length)
				if length < 0 {
					body = httputil.NewChunkedReader(c)
				}
				io.Copy(io.Discard, body) //nolint:errcheck // the answer tells
				c.Answer("ok")
			})
			req := newRequest(t, "POST", &slowBody{left: 4, pause: limit / 2})
			req.ContentLength = length
			req.Header.Set("Expect", "100-continue")
			rt := testTransport(t, slot.Addr(), func(s *Service) { s.ResponseHeaderTimeout = limit })
			if res, body := roundTrip(t, rt, req); res.StatusCode != 200 || body != "ok" {
				t.Errorf("%s %q", res.Status, body)
			}
		})
	}
}
