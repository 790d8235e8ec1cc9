package drive

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
)

// client is one keep-alive connection that sends always the same request.
type client struct {
	addr    string
	request []byte
	conn    net.Conn
	reader  *bufio.Reader
}

func newClient(addr, path string) *client {
	return &client{addr: addr, request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr)}
}

func (c *client) open(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	c.conn = conn
	if c.reader == nil {
		c.reader = bufio.NewReaderSize(conn, 4<<10)
	}
	c.reader.Reset(conn)
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// do sends the request and reads its answer, without allocating.
func (c *client) do() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return fmt.Errorf("writing a request: %w", err)
	}
	length, err := readHead(c.reader)
	if err != nil {
		return err
	}
	if _, err := c.reader.Discard(length); err != nil {
		return fmt.Errorf("reading a body: %w", err)
	}
	return nil
}

// readHead reads the head of an answer, which must be a 200 that tells its
// length and keeps the connection.
func readHead(r *bufio.Reader) (length int, err error) {
	length = -1
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("reading a head: %w", err)
		}
		line = bytes.TrimSuffix(line, []byte("\r\n"))
		switch {
		case n == 0 && !bytes.HasPrefix(line, []byte("HTTP/1.1 200")):
			return 0, fmt.Errorf("answered %q", line)
		case n > 0 && len(line) == 0:
			return known(length)
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, fmt.Errorf("answered %q", line)
			}
		case bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			return 0, fmt.Errorf("answered %q", line)
		}
	}
}

func known(length int) (int, error) {
	if length < 0 {
		return 0, fmt.Errorf("answered without a Content-Length")
	}
	return length, nil
}
