package drive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// messageSize is the length of a message's payload; it must be below 126, the
// longest that a frame tells in its second byte.
const messageSize = 64

// WebSocket sends messages to an echo, each connection the next one when the
// last is back.
type WebSocket struct {
	Addr, Path  string
	Connections int
	Time        time.Duration
}

// Run goes on for the time given.
func (w WebSocket) Run(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Time+2*patience)
	defer cancel()
	var conns []*socket
	for range w.Connections {
		conn, err := w.open(ctx)
		if err != nil {
			return Result{}, err
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	var t tally
	var group sync.WaitGroup
	started := time.Now()
	for _, conn := range conns {
		group.Go(func() { t.good(conn.echoes(ctx, started.Add(w.Time), &t)) })
	}
	group.Wait()
	return t.result(time.Since(started)), ctx.Err()
}

// socket is one WebSocket.
type socket struct {
	net.Conn
	reader *bufio.Reader
}

// open makes the handshake.
func (w WebSocket) open(ctx context.Context) (*socket, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", w.Addr)
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		// One that is closed already shows it at the next write.
		_ = conn.SetDeadline(deadline)
	}
	s := &socket{conn, bufio.NewReader(conn)}
	key := base64.StdEncoding.EncodeToString([]byte(rand.Text()[:16]))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", w.Path, w.Addr, key); err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	resp, err := http.ReadResponse(s.reader, nil)
	if err != nil {
		return nil, fmt.Errorf("opening a WebSocket: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("opening a WebSocket: answered %s", resp.Status)
	}
	return s, nil
}

// echoes sends and receives until the time is up, and returns the latencies.
func (s *socket) echoes(ctx context.Context, until time.Time, t *tally) []time.Duration {
	frame, echo := frames()
	got := make([]byte, len(echo))
	var latencies []time.Duration
	for ctx.Err() == nil {
		sent := time.Now()
		if sent.After(until) {
			break
		}
		if err := s.exchange(frame, echo, got); err != nil {
			t.bad(err)
			break
		}
		latencies = append(latencies, time.Since(sent))
	}
	return latencies
}

func (s *socket) exchange(frame, echo, got []byte) error {
	if _, err := s.Write(frame); err != nil {
		return fmt.Errorf("writing a message: %w", err)
	}
	if _, err := io.ReadFull(s.reader, got); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	if !bytes.Equal(got, echo) {
		return fmt.Errorf("the echo differs: %q", got)
	}
	return nil
}

// frames are a client's binary message, masked with zeros so that its payload
// stays as it is, and the server's echo of it.
func frames() (message, echo []byte) {
	payload := bytes.Repeat([]byte{'x'}, messageSize)
	message = append([]byte{0x82, 0x80 | messageSize, 0, 0, 0, 0}, payload...)
	return message, append([]byte{0x82, messageSize}, payload...)
}
