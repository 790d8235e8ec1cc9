package proxy

import (
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
)

// CVE-2023-44487: each stream is reset as soon as it is asked for.
func TestOneThatResetsItsStreamsIsHungUpOn(t *testing.T) {
	over := make(chan struct{})
	slot := startHandler(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-over:
		}
	})
	t.Cleanup(func() { close(over) })
	c := startFront(t, slot).dial()
	c.say(http2.ClientPreface)
	fr := http2.NewFramer(c.Conn, nil)
	if err := fr.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, c.Conn)
		ended <- err
	}()
	const get = "\x82\x86\x84\x41\x01a" // GET of http, /, a
	for i := range uint32(100 * hastyFrom) {
		err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: []byte(get), EndHeaders: true, EndStream: true})
		if err == nil {
			err = fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
		}
		if err != nil {
			break // it was hung up on
		}
	}
	if err := <-ended; isTimeout(err) {
		t.Error("it may go on")
	}
}

func TestOneThatLeavesNowAndThenIsNoAbuser(t *testing.T) {
	var h haste
	for range 10 * hastyFrom {
		if h.ended(false) || h.ended(true) {
			t.Fatal("half of its streams were answered")
		}
	}
	var young haste
	for range hastyFrom - 1 {
		if young.ended(true) {
			t.Fatal("it is judged too soon")
		}
	}
	if !young.ended(true) {
		t.Error("it may go on")
	}
}
