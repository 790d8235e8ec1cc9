package proxy

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

const (
	benchRequest = "GET /api/characters?page=2 HTTP/1.1\r\nHost: charactier.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: application/json\r\nAccept-Language: ja,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: https://charactier.example/characters\r\nCookie: session=0123456789abcdef0123456789abcdef\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 203.0.113.7\r\nConnection: keep-alive\r\n\r\n"
	benchAnswer  = "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 27\r\nETag: W/\"1b-abcdef\"\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n{\"characters\":[],\"page\":2}\n"
)

// plainSlot answers every request, which must come in one piece, with the same.
func plainSlot(tb testing.TB, answer string) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var conns sync.WaitGroup
	var open sync.Map
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(c, true)
			conns.Go(func() {
				defer c.Close()
				b, answer := make([]byte, 16<<10), []byte(answer)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if bytes.HasSuffix(b[:n], []byte("\r\n\r\n")) {
						c.Write(answer) //nolint:errcheck // the next read tells
					}
				}
			})
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		open.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
		conns.Wait()
	})
	return ln.Addr().String()
}

// BenchmarkLane measures a small request through the whole proxy, with the
// client and the slot in the same process.
func BenchmarkLane(b *testing.B) {
	f := startFront(b, plainSlot(b, benchAnswer), func(o *frontOptions) {
		o.settings.AccessLog, o.settings.TrustedPeers = nil, loopback()
	})
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		c := f.dial()
		in, request := make([]byte, 4<<10), []byte(benchRequest)
		for pb.Next() {
			c.Write(request) //nolint:errcheck // the next read tells
			if n, err := c.Read(in); err != nil || !bytes.HasPrefix(in[:n], []byte("HTTP/1.1 200")) {
				b.Errorf("%q, %v", in[:n], err)
				return
			}
		}
	})
}
