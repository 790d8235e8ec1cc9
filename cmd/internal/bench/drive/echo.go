package drive

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
)

// handshakeSalt is what RFC 6455 appends to a client's key.
const handshakeSalt = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Echo is the slot of [WebSocket]. Requests that are no handshake are answered
// 200, so that it is healthy.
type Echo struct{}

// ServeHTTP serves one WebSocket to its end.
func (Echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if key == "" {
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	digest := sha1.Sum([]byte(key + handshakeSalt))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(digest[:]))
	echo(conn, rw.Reader)
}

// echo returns each message until the client leaves or sends something else
// than [WebSocket] does.
func echo(conn net.Conn, r *bufio.Reader) {
	want, answer := frames()
	got := make([]byte, len(want))
	for {
		if _, err := io.ReadFull(r, got); err != nil || got[0] != want[0] || got[1] != want[1] {
			return
		}
		mask, payload := got[2:6], got[6:]
		for i := range payload {
			answer[2+i] = payload[i] ^ mask[i&3]
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}
