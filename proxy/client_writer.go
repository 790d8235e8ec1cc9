package proxy

import (
	"net/http"
	"time"
)

// clientWriter is the way of an answer to the client. It notes what passed,
// bounds the wait for the client, and says where a connection ends.
type clientWriter struct {
	http.ResponseWriter
	flush    func() error
	progress progress
	// ends reports whether the connection must end with this answer. It is asked
	// when the final head goes out.
	ends   func() bool
	http10 bool // the client knows no informational answers
	// headOnly says that the answer is nothing but its head. It must not be
	// flushed: HTTP/2 would then end the stream by a frame of its own, and a gRPC
	// client would miss its status.
	headOnly bool

	unsent  bool // something was written since the last flush
	flushed bool // ever

	status    int // of the final answer; 0 before it
	firstByte time.Time
	n         int64 // bytes of the body
	err       error // why writing failed
	late      bool  // it was that the client took too long
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *clientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader passes on an informational answer or the head of the final one.
// To the latter net/http would add a media type that it guessed; the answer is
// the slot's and stays as it is. (It adds a Date where there is none, which RFC
// 9110, section 6.6.1, asks of us.)
func (w *clientWriter) WriteHeader(status int) {
	if w.http10 && status < 200 {
		return
	}
	w.progress.renew()
	if status >= 200 && w.status == 0 {
		w.status, w.firstByte, w.unsent = status, time.Now(), true
		h := w.Header()
		if _, ok := h["Content-Type"]; !ok {
			h["Content-Type"] = nil
		}
		if w.ends() {
			h.Set("Connection", "close")
		}
	}
	w.ResponseWriter.WriteHeader(status)
	w.progress.waited()
}

func (w *clientWriter) Write(p []byte) (int, error) {
	w.progress.renew()
	w.unsent = true
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	w.note(err)
	return n, err
}

// FlushError is found by [http.ResponseController].
func (w *clientWriter) FlushError() error {
	if w.headOnly {
		return nil
	}
	w.unsent, w.flushed = false, true
	w.progress.renew()
	err := w.flush()
	w.note(err)
	return err
}

// flushUnsent lets go what was written, before the slot is waited for.
func (w *clientWriter) flushUnsent() {
	if w.unsent {
		w.FlushError() //nolint:errcheck // noted; a client that left ends the request
	}
}

// note keeps the first error; what comes too late is a timeout, whatever the
// protocol makes of it.
func (w *clientWriter) note(err error) {
	if err != nil && w.err == nil {
		w.err = err
		w.late = isTimeout(err) || w.progress.over()
	}
	w.progress.waited()
}
