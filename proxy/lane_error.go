package proxy

import (
	"bufio"
	"bytes"
	"net/http"
	"strconv"
	"time"

	"charactier-proxy/proxy/http1"
)

// fail answers with an error of ours, or ends the connection where that is not
// possible any more or would do harm; see [relay.fail].
func (l *laneConn) fail(err error) {
	x := &l.work.laneExchange
	x.cause, x.err = laneCause(err), err
	if x.events.now() == streamCut {
		x.cause = causeStreamCut // which shows as an error of either connection
	}
	v := x.cause.verdict()
	r, parseErr := l.standardRequest()
	if x.status != 0 || parseErr != nil || v.status == statusClientGone ||
		v.status >= 500 && v.by != partyClient && isEventSource(r) {
		x.aborted = true
		return
	}
	x.closing = x.closing || v.by == partyClient
	w := l.newWriter()
	writeError(w, r, x.cause, x.requestID())
	x.aborted = w.finish() != nil
}

// standardRequest is the request as the standard lane would have it, without its
// body: for what happens seldom, and is done in one place for both lanes.
func (l *laneConn) standardRequest() (*http.Request, error) {
	return http.ReadRequest(bufio.NewReader(bytes.NewReader(l.work.in[:l.work.head])))
}

// serveAsset answers with a file of an earlier release what the slot answered
// with 404; see [relay.serveAsset].
func (l *laneConn) serveAsset(body []byte) (served bool, err error) {
	x := &l.work.laneExchange
	kept := x.claim.service.Assets
	if kept == nil || x.res.Status() != http.StatusNotFound {
		return false, nil
	}
	r, err := l.standardRequest()
	if err != nil {
		return false, err
	}
	file := kept.open(r, string(x.req.Path()))
	if file == nil {
		return false, nil
	}
	defer file.Close() //nolint:errcheck // nothing was written to it
	x.assets = true
	if _, err := x.takeBody(body); err != nil || !x.bodyDone {
		l.closeSlot() // what is left of its answer may be long
	} else {
		l.letSlotGo()
	}
	x.passed = 0
	w := l.newWriter()
	file.serve(w, r, x.resHeader())
	if err := w.finish(); err != nil {
		return true, err
	}
	if r.Method == http.MethodGet && w.short() {
		return true, &laneEnd{causeInternal, errAssetShort}
	}
	return true, nil
}

// resHeader is the header of the slot's answer.
func (x *laneExchange) resHeader() http.Header {
	h := http.Header{}
	for i := range x.res.Len() {
		h.Add(string(x.res.Name(i)), string(x.res.Value(i)))
	}
	return h
}

// laneWriter is the [http.ResponseWriter] of answers that are ours. What does not
// say its length is kept until finish, and must be short.
type laneWriter struct {
	l      *laneConn
	header http.Header
	status int
	told   bool // the head is out
	body   []byte
	err    error
}

func (l *laneConn) newWriter() *laneWriter { return &laneWriter{l: l, header: http.Header{}} }

// Header implements [http.ResponseWriter].
func (w *laneWriter) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *laneWriter) WriteHeader(status int) {
	w.status = status
	if _, sized := w.header["Content-Length"]; sized {
		w.tell()
	}
}

// Write implements [http.ResponseWriter].
func (w *laneWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if !w.told {
		w.body = append(w.body, p...)
		return len(p), nil
	}
	if w.write(p); w.err != nil {
		return 0, w.err
	}
	w.l.work.passed += int64(len(p))
	return len(p), nil
}

// tell writes the head.
func (w *laneWriter) tell() {
	x := &w.l.work.laneExchange
	now := time.Now()
	x.closing = x.closing || x.unread() || w.l.server.isEnding()
	x.status, x.firstByte, w.told = w.status, now, true
	w.header.Set("Date", now.UTC().Format(http.TimeFormat))
	if x.closing {
		w.header.Set("Connection", "close")
	}
	b := bytes.NewBuffer(http1.AppendStatusLine(nil, w.status))
	w.header.Write(b) //nolint:errcheck // a buffer takes all
	b.WriteString("\r\n")
	w.write(b.Bytes())
}

func (w *laneWriter) write(p []byte) {
	if w.err == nil {
		w.err = w.l.writeClient(p, time.Now())
	}
}

// finish writes what was kept, and says why the answer did not leave if it did
// not.
func (w *laneWriter) finish() error {
	if !w.told {
		if w.status != http.StatusNoContent && w.status != http.StatusNotModified {
			w.header.Set("Content-Length", strconv.Itoa(len(w.body)))
		}
		w.tell()
		if w.l.work.req.Method() != http1.HEAD {
			w.Write(w.body) //nolint:errcheck // w.err tells
		}
	}
	return w.err
}

// short reports whether less was written than the head promises.
func (w *laneWriter) short() bool {
	length := w.header.Get("Content-Length")
	return length != "" && length != strconv.FormatInt(w.l.work.passed, 10)
}

// accessEntry is what the log tells of this request.
func (l *laneConn) accessEntry(now time.Time) *accessEntry {
	x := &l.work.laneExchange
	e := &accessEntry{
		id: x.requestID(), service: x.lane.service, lane: laneFast, client: l.client(),
		method: x.req.Method().String(), host: string(x.req.Get(http1.Host)), target: string(x.req.Target()),
		proto: "HTTP/1.1", status: x.status, in: x.in, out: x.passed, total: now.Sub(x.start) + x.claim.held, held: x.claim.held,
		cause: x.cause, err: x.err, stream: x.events != nil, assets: x.assets, aborted: x.aborted,
	}
	if x.claim.target != nil {
		e.slot, e.address = x.claim.Slot, x.claim.Address
	}
	if !x.gotConn.IsZero() {
		e.connect = x.gotConn.Sub(x.start)
	}
	if !x.firstByte.IsZero() {
		e.firstByte = x.firstByte.Sub(x.start) + x.claim.held
	}
	return e
}
