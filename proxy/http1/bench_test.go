package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"testing"
)

func BenchmarkRequest(b *testing.B) {
	wire := []byte(browserGET)
	b.SetBytes(int64(len(wire)))
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var r Request
		for b.Loop() {
			r.Reset()
			if n, _ := r.Parse(wire); n == 0 {
				b.Fatal("it was not taken")
			}
		}
	})
	src := bytes.NewReader(wire)
	br := bufio.NewReader(src)
	b.Run("textproto", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			src.Reset(wire)
			br.Reset(src)
			tp := textproto.NewReader(br)
			tp.ReadLine()
			tp.ReadMIMEHeader()
		}
	})
	b.Run("nethttp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			src.Reset(wire)
			br.Reset(src)
			http.ReadRequest(br)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	wire := []byte(nodeAnswer)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		var a Answer
		for b.Loop() {
			a.Reset()
			if n, _ := a.Parse(wire, GET); n == 0 || a.KeepAliveTimeout() != 5 {
				b.Fatal("it was not taken")
			}
		}
	})
	src := bytes.NewReader(wire)
	br := bufio.NewReader(src)
	b.Run("nethttp", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			src.Reset(wire)
			br.Reset(src)
			http.ReadResponse(br, nil)
		}
	})
}

func BenchmarkAppendFields(b *testing.B) {
	var r Request
	if n, _ := r.Parse([]byte(browserGET)); n == 0 {
		b.Fatal("it was not taken")
	}
	drop := HopByHop | SetOf(XForwardedFor, XRealIP, XForwardedProto, XRequestID)
	room := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		r.AppendFields(room, drop)
	}
}

func BenchmarkChunks(b *testing.B) {
	for name, size := range map[string]int{"of 100 bytes": 100, "of 16 KB": 16 << 10} {
		var body bytes.Buffer
		w := httputil.NewChunkedWriter(&body)
		for range 64 << 10 / size {
			w.Write(make([]byte, size))
		}
		w.Close()
		body.WriteString("\r\n")
		b.Run(name+"/ours", func(b *testing.B) {
			b.SetBytes(int64(body.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := follow(new(Chunks), body.Bytes()); n != body.Len() || err != nil {
					b.Fatal(n, err)
				}
			}
		})
		b.Run(name+"/nethttp", func(b *testing.B) {
			b.SetBytes(int64(body.Len()))
			b.ReportAllocs()
			for b.Loop() {
				io.Copy(io.Discard, httputil.NewChunkedReader(bytes.NewReader(body.Bytes())))
			}
		})
	}
}

// In steady state nothing is allocated.
func TestNothingIsAllocated(t *testing.T) {
	var r Request
	var a Answer
	request, answer := []byte(browserGET), []byte(nodeAnswer)
	body := []byte("5;a=b\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
	room := make([]byte, 0, 4096)
	allocs := testing.AllocsPerRun(100, func() {
		r.Reset()
		for n := range request {
			if whole, err := r.Parse(request[:n]); whole != 0 || err != nil {
				t.Fatal(n, err)
			}
		}
		if n, err := r.Parse(request); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		out := AppendField(append(room, r.FirstLine()...), "X-Forwarded-For", "203.0.113.7")
		r.AppendFields(out, HopByHop|SetOf(XForwardedFor))
		a.Reset()
		if n, err := a.Parse(answer, r.Method()); n == 0 || err != nil || a.KeepAliveTimeout() != 5 {
			t.Fatal(n, err)
		}
		out = AppendLength(AppendStatusLine(room, a.Status()), a.Length())
		a.AppendFields(out, HopByHop|SetOf(ContentLength))
		var c Chunks
		if n, err := follow(&c, body); n != len(body) || err != nil {
			t.Fatal(n, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
