package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"charactier-proxy/proxy/proxytest"
)

const staticPath = "/_next/static/"

var built = time.Date(2025, 3, 4, 5, 6, 7, 0, time.UTC)

func kept(contents map[string]string) fstest.MapFS {
	files := fstest.MapFS{}
	for name, content := range contents {
		files[name] = &fstest.MapFile{Data: []byte(content), ModTime: built}
	}
	return files
}

func withAssets(files fs.FS) func(*frontOptions) {
	return func(o *frontOptions) { o.service.Assets = &Assets{Prefix: staticPath, Files: files} }
}

// missingSlot answers 404 to everything, as Next.js does: with a page, in chunks,
// and with fields that must not stick to an asset.
func missingSlot(t testing.TB) *proxytest.Slot {
	return proxytest.Start(t, func(c *proxytest.Conn) {
		for r := c.Request(); r != nil; r = c.Request() {
			c.Say("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nCache-Control: no-store\r\nSet-Cookie: a=b\r\n" +
				"ETag: \"page\"\r\nContent-Encoding: identity\r\nX-Powered-By: Next.js\r\nAccess-Control-Allow-Origin: *\r\n")
			if r.Method == http.MethodHead {
				c.Say("\r\n")
				continue
			}
			c.Say("Transfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n")
		}
	})
}

func (f *front) ask(method, path string, fields ...string) (*http.Response, string) {
	f.t.Helper()
	c := f.dial()
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: example.com"}, fields...)
	c.say(strings.Join(slices.DeleteFunc(lines, func(s string) bool { return s == "" }), "\r\n") + "\r\n\r\n")
	return c.whole(method)
}

func TestAMissBelowTheAssetsPathIsAnsweredWithTheKeptFile(t *testing.T) {
	slot := missingSlot(t)
	f := startFront(t, slot.Addr(), withAssets(kept(map[string]string{"chunks/old-1.js": "old code"})))
	res, body := f.ask("GET", staticPath+"chunks/old-1.js?dpl=1")
	if res.StatusCode != 200 || body != "old code" {
		t.Fatalf("%s with %q", res.Status, body)
	}
	want := http.Header{
		"Content-Type": {"application/javascript; charset=UTF-8"}, "Content-Length": {"8"}, "Accept-Ranges": {"bytes"},
		"Cache-Control": {"public, max-age=31536000, immutable"}, "Last-Modified": {"Tue, 04 Mar 2025 05:06:07 GMT"},
		"Etag": {`W/"8-1955f8c0618"`}, "Access-Control-Allow-Origin": {"*"},
	}
	res.Header.Del("Date")
	if got := fmt.Sprint(res.Header); got != fmt.Sprint(want) {
		t.Errorf("fields %v\nwant   %v", got, want)
	}
	e := f.entry(1)
	if e["assets"] != true || e["status"] != int64(200) || e["bytes_out"] != int64(8) || e["cause"] != nil {
		t.Errorf("access log: %v", e)
	}
	if s := f.stats(); s.Requests[2] != 1 || s.Requests[4] != 0 || s.BytesOut != 8 {
		t.Errorf("counted: %+v", s)
	}
}

func TestAMissThatNoReleaseKnowsPassesUntouched(t *testing.T) {
	f := startFront(t, missingSlot(t).Addr(), withAssets(kept(map[string]string{
		"a.js": "code", "dir/b.js": "code", ".secret": "s", "dir/.env": "s", "odd\\c.js": "s",
	})))
	for _, path := range []string{
		staticPath + "none.js", staticPath, staticPath + "dir", staticPath + "dir/", staticPath + "a.js/",
		staticPath + "/a.js", staticPath + "dir//b.js", staticPath + "./a.js", staticPath + "dir/../a.js",
		staticPath + "%2e%2e/a.js", staticPath + "dir%2f..%2fa.js", staticPath + "dir/%2E%2E/a.js", staticPath + "%252e%252e/a.js",
		staticPath + ".secret", staticPath + "%2esecret", staticPath + "dir/.env", staticPath + "dir%2F.env",
		staticPath + "a.js%00", staticPath + "a.js%0a", staticPath + "%ff",
		staticPath + "odd%5Cc.js", staticPath + "odd\\c.js", staticPath + "A.JS", staticPath + strings.Repeat("x/", 2000) + "a.js",
		"/_next/a.js", "/_next/static", "/x" + staticPath + "a.js", "/%5fnext/static/a.js", "/_next/static%2Fa.js",
	} {
		res, body := f.ask("GET", path)
		if res.StatusCode != 404 || body != "page" || res.Header.Get("ETag") != `"page"` || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%.80s: %s %q %v", path, res.Status, body, res.Header)
		}
	}
	if f.entry(1)["assets"] != nil {
		t.Error("the access log tells of assets")
	}
}

func TestOnlyAMissOfGetOrHeadIsReplaced(t *testing.T) {
	files := kept(map[string]string{"a.js": "kept"})
	f := startFront(t, missingSlot(t).Addr(), withAssets(files))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"} {
		if res, body := f.ask(method, staticPath+"a.js", "Content-Length: 0"); res.StatusCode != 404 || body != "page" {
			t.Errorf("%s: %s %q", method, res.Status, body)
		}
	}
	for _, status := range []int{200, 204, 301, 304, 400, 403, 405, 410, 500, 503} {
		slot := startHandler(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		f := startFront(t, slot, withAssets(files))
		if res, _ := f.ask("GET", staticPath+"a.js"); res.StatusCode != status {
			t.Errorf("the slot's %d became %s", status, res.Status)
		}
	}
}

func TestANameIsDecodedOnceAsNextDoes(t *testing.T) {
	f := startFront(t, missingSlot(t).Addr(), withAssets(kept(map[string]string{
		"chunks/app/[slug]/page-1.js": "slug", "100%25.txt": "percent", "a b/ü.css": "letters", "dir/b.js": "slash", "@group/+c.js": "group",
	})))
	for path, want := range map[string]string{
		"chunks/app/%5Bslug%5D/page-1.js": "slug", "chunks/app/[slug]/page-1.js": "slug", "100%2525.txt": "percent",
		"a%20b/%C3%BC.css": "letters", "dir%2Fb.js": "slash", "@group/+c.js": "group", "%40group/%2Bc.js": "group",
	} {
		if res, body := f.ask("GET", staticPath+path); res.StatusCode != 200 || body != want {
			t.Errorf("%s: %s %q, want %q", path, res.Status, body, want)
		}
	}
}

func TestAssetsAnswerHeadRangesAndConditions(t *testing.T) {
	f := startFront(t, missingSlot(t).Addr(), withAssets(kept(map[string]string{"a.css": "0123456789", "empty.js": ""})))
	tag, modified := `W/"a-1955f8c0618"`, "Tue, 04 Mar 2025 05:06:07 GMT"
	for _, test := range []struct {
		method, name, field string
		status              int
		body, fields        string
	}{
		{"GET", "a.css", "", 200, "0123456789", "10  "},
		{"HEAD", "a.css", "", 200, "", "10  "},
		{"GET", "empty.js", "", 200, "", "0  "},
		{"GET", "a.css", "Range: bytes=2-4", 206, "234", "3 bytes 2-4/10 "},
		{"GET", "a.css", "Range: bytes=-2", 206, "89", "2 bytes 8-9/10 "},
		{"HEAD", "a.css", "Range: bytes=2-4", 206, "", "3 bytes 2-4/10 "},
		{"GET", "a.css", "Range: bytes=20-", 416, "invalid range: failed to overlap\n", "33 bytes */10 "},
		{"GET", "a.css", "Range: lines=1", 416, "invalid range\n", "14  "},
		{"GET", "a.css", "Range: bytes=2-4\r\nIf-Range: " + modified, 206, "234", "3 bytes 2-4/10 "},
		{"GET", "a.css", "Range: bytes=2-4\r\nIf-Range: " + tag, 200, "0123456789", "10  "},
		{"GET", "a.css", "If-None-Match: " + tag, 304, "", "  " + tag},
		{"HEAD", "a.css", "If-None-Match: \"x\", " + tag, 304, "", "  " + tag},
		{"GET", "a.css", "If-None-Match: *", 304, "", "  " + tag},
		{"GET", "a.css", "If-None-Match: \"x\"", 200, "0123456789", "10  "},
		{"GET", "a.css", "If-Modified-Since: " + modified, 304, "", "  " + tag},
		{"GET", "a.css", "If-Modified-Since: Mon, 03 Mar 2025 00:00:00 GMT", 200, "0123456789", "10  "},
		{"GET", "a.css", "If-Match: \"x\"", 412, "", "0  "},
	} {
		res, body := f.ask(test.method, staticPath+test.name, test.field)
		got := res.Header.Get("Content-Length") + " " + res.Header.Get("Content-Range") + " "
		if res.StatusCode == 304 {
			got += res.Header.Get("ETag")
		}
		if res.StatusCode != test.status || body != test.body || got != test.fields {
			t.Errorf("%s %s with %q: %s %q %q", test.method, test.name, test.field, res.Status, body, got)
		}
		if res.Header.Get("Content-Encoding") != "" || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s with %q: fields of the slot's page: %v", test.name, test.field, res.Header)
		}
	}
	res, body := f.ask("GET", staticPath+"a.css", "Range: bytes=0-1,8-9")
	if res.StatusCode != 206 || !strings.Contains(body, "bytes 8-9/10\r\nContent-Type: text/css; charset=UTF-8\r\n\r\n89\r\n") {
		t.Errorf("two ranges: %s %q", res.Status, body)
	}
}

func TestTheTypeOfAnAssetIsKnownByItsName(t *testing.T) {
	for name, want := range map[string]string{
		"a.js": "application/javascript; charset=UTF-8", "a.css": "text/css; charset=UTF-8", "a.js.map": "application/json; charset=UTF-8",
		"a.woff2": "font/woff2", "a.svg": "image/svg+xml", "a.json": "application/json; charset=UTF-8", "a.txt": "text/plain; charset=UTF-8",
		"a.wasm": "application/wasm", "a.PNG": "image/png", "a.jpg": "image/jpeg", "a.webp": "image/webp", "a.avif": "image/avif",
		"a.ico": "image/x-icon", "a.unheard-of": "application/octet-stream", "a": "application/octet-stream",
	} {
		if got := assetType(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// The connection on which the slot said 404 is used again.
func TestTheSlotsConnectionOutlivesAReplacedMiss(t *testing.T) {
	slot := missingSlot(t)
	f := startFront(t, slot.Addr(), withAssets(kept(map[string]string{"a.js": "kept"})))
	c := f.dial()
	for range 5 {
		for _, method := range []string{"GET", "HEAD"} {
			c.say(method + " " + staticPath + "a.js HTTP/1.1\r\nHost: a\r\n\r\n")
			if res, _ := c.whole(method); res.StatusCode != 200 {
				t.Fatal(res.Status)
			}
		}
	}
	if n := slot.Accepted(); n != 1 {
		t.Errorf("%d connections to the slot, want 1", n)
	}
}

// A 404 that does not end costs its connection, and the client no time to speak
// of.
func TestAMissThatDoesNotEndIsNotWaitedFor(t *testing.T) {
	for name, rest := range map[string]func(*proxytest.Conn){
		"silent":  func(c *proxytest.Conn) { c.Gone() },
		"endless": func(c *proxytest.Conn) { io.Copy(c.Conn, zeros{}) }, //nolint:errcheck // it ends when the other end does
		"slow": func(c *proxytest.Conn) {
			for !c.Pause(10 * time.Millisecond) {
				if _, err := io.WriteString(c.Conn, "x"); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			slot := proxytest.Start(t, func(c *proxytest.Conn) {
				defer close(ended)
				c.Request()
				c.Say("HTTP/1.1 404 Not Found\r\nContent-Length: 100000000\r\n\r\npage")
				rest(c)
			})
			f := startFront(t, slot.Addr(), withAssets(kept(map[string]string{"a.js": "kept"})))
			if res, body := f.ask("GET", staticPath+"a.js"); res.StatusCode != 200 || body != "kept" {
				t.Errorf("%s %q", res.Status, body)
			}
			select {
			case <-ended:
			case <-time.After(patience):
				t.Error("the connection to the slot is still open")
			}
			if s := f.stats(); s.Faults != 0 {
				t.Errorf("counted as the slot's fault: %+v", s)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// The slot says 404 in the middle of a body that is still on its way to it.
func TestAMissThatOvertakesABodyIsReplacedToo(t *testing.T) {
	slot := proxytest.Start(t, func(c *proxytest.Conn) {
		c.Head()
		c.Say("HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\npage")
		io.Copy(io.Discard, c) //nolint:errcheck // it ends when the other end does
	})
	f := startFront(t, slot.Addr(), withAssets(kept(map[string]string{"a.js": "kept"})))
	c := f.dial()
	c.say("GET " + staticPath + "a.js HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(c.Conn, zeros{}) //nolint:errcheck // it ends when the proxy has answered
	}()
	if res, body := c.whole("GET"); res.StatusCode != 200 || body != "kept" || !res.Close {
		t.Errorf("%s %q, connection ends: %t", res.Status, body, res.Close)
	}
	c.Close()
	<-done
}

func TestAssetsOfAServiceOverHTTP2(t *testing.T) {
	slot := startHandler(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "page", 404) })
	content := strings.Repeat("kept", 100_000)
	f := startFront(t, slot, withAssets(kept(map[string]string{"a.js": content})), func(o *frontOptions) { o.service.Protocol = H2C })
	for _, http2 := range []bool{false, true} {
		res, err := newClient(t, http2).Get("http://" + f.addr + staticPath + "a.js")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || string(body) != content {
			t.Errorf("HTTP/2 %t: %s, %d bytes, %v", http2, res.Status, len(body), err)
		}
	}
}

// shrunk is a file that is shorter than it said.
type shrunk struct{ *bytes.Reader }

func (shrunk) Close() error                 { return nil }
func (s shrunk) Stat() (fs.FileInfo, error) { return s, nil }
func (shrunk) Name() string                 { return "a.js" }
func (shrunk) Mode() fs.FileMode            { return 0o444 }
func (shrunk) ModTime() time.Time           { return built }
func (shrunk) IsDir() bool                  { return false }
func (shrunk) Sys() any                     { return nil }
func (s shrunk) Read(b []byte) (int, error) { return 0, errors.New("the disk is gone") }
func (s shrunk) Open(string) (fs.File, error) {
	return shrunk{bytes.NewReader(make([]byte, 100_000))}, nil
}

func TestAnAssetThatBreaksOffNeverLooksWhole(t *testing.T) {
	f := startFront(t, missingSlot(t).Addr(), withAssets(shrunk{}))
	for _, http2 := range []bool{false, true} {
		res, err := newClient(t, http2).Get("http://" + f.addr + staticPath + "a.js")
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("HTTP/2 %t: ended cleanly", http2)
		}
	}
	if e := f.entry(1); e["cause"] != string(causeInternal) || e["aborted"] != true {
		t.Errorf("access log: %v", e)
	}
}

func TestAClientThatLeavesAnAssetIsNobodysFault(t *testing.T) {
	var open atomic.Int64
	f := startFront(t, missingSlot(t).Addr(), withAssets(countedFS{kept(map[string]string{"a.js": strings.Repeat("x", 32<<20)}), &open}))
	c := f.dial()
	c.say("GET " + staticPath + "a.js HTTP/1.1\r\nHost: a\r\n\r\n")
	c.answer("GET")
	c.Close()
	if e := f.entry(1); e["cause"] != string(causeClientGone) || e["caused_by"] != "client" {
		t.Errorf("access log: %v", e)
	}
	if s := f.stats(); s.Faults != 0 || s.Errors != 0 || s.InFlight != 0 {
		t.Errorf("counted: %+v", s)
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d files are still open", n)
	}
}

// countedFS counts the files that are open.
type countedFS struct {
	fstest.MapFS
	open *atomic.Int64
}

func (c countedFS) Open(name string) (fs.File, error) {
	f, err := c.MapFS.Open(name)
	if err != nil {
		return nil, err
	}
	c.open.Add(1)
	seeker, _ := f.(io.Seeker) // a directory is none
	return countedFile{f, seeker, c.open}, nil
}

type countedFile struct {
	fs.File
	io.Seeker
	open *atomic.Int64
}

func (c countedFile) Close() error {
	c.open.Add(-1)
	return c.File.Close()
}

func TestEveryAssetThatWasOpenedIsClosed(t *testing.T) {
	var open atomic.Int64
	f := startFront(t, missingSlot(t).Addr(), withAssets(countedFS{kept(map[string]string{"dir/a.js": "kept"}), &open}))
	for _, test := range [][2]string{
		{"GET", "dir/a.js"}, {"HEAD", "dir/a.js"}, {"GET", "dir"}, {"GET", "none"}, {"POST", "dir/a.js"},
	} {
		f.ask(test[0], staticPath+test[1], "Range: bytes=0-0,2-3", "Content-Length: 0")
	}
	f.await("the files to be closed", func() bool { return open.Load() == 0 })
}

// Files may change while the rest of a service stays as it is: it keeps its
// target.
func TestNewAssetsLeaveTheTargetAlone(t *testing.T) {
	p := newTestProxy(t, "backend")
	before := p.table.Load().routes["backend"].target
	s := twoSlots("backend")
	s.Assets = &Assets{Prefix: staticPath, Files: kept(nil)}
	mustConfigure(t, p, []Service{s}, map[string]string{"backend": "blue"}, nil)
	now := p.table.Load().routes["backend"]
	if now.target != before || now.service.Assets != s.Assets {
		t.Errorf("the target changed: %t; assets %v", now.target != before, now.service.Assets)
	}
}

// A service pays for assets only when its slot says 404.
func TestAssetsCostNothingUnlessTheSlotHasNot(t *testing.T) {
	slot := proxytest.Start(t, proxytest.KeepAlive("ok"))
	cost := func(o ...func(*frontOptions)) float64 {
		f := startFront(t, slot.Addr(), append(o, func(o *frontOptions) { o.settings.AccessLog = nil })...)
		c := f.dial()
		return testing.AllocsPerRun(50, func() { c.get(staticPath + "a.js") })
	}
	without, with := cost(), cost(withAssets(kept(nil)))
	if with > without+2 { // other goroutines allocate now and then
		t.Errorf("%v allocations for a request with assets, %v without", with, without)
	}
}

func BenchmarkMiss(b *testing.B) {
	for name, o := range map[string]func(*frontOptions){
		"no assets": func(*frontOptions) {},
		"not kept":  withAssets(kept(nil)),
		"kept":      withAssets(kept(map[string]string{"a.js": "kept"})),
	} {
		b.Run(name, func(b *testing.B) {
			f := startFront(b, missingSlot(b).Addr(), o, func(o *frontOptions) { o.settings.AccessLog = nil })
			c := f.dial()
			c.SetDeadline(time.Time{}) //nolint:errcheck // a benchmark may take its time
			b.ReportAllocs()
			for b.Loop() {
				c.say("GET " + staticPath + "a.js HTTP/1.1\r\nHost: a\r\n\r\n")
				c.whole("GET")
			}
		})
	}
}

func FuzzAssetNames(f *testing.F) {
	for _, seed := range []string{"a.js", "%2e%2e/a", "a%2Fb", "..", "a//b", "%00", "a%252Fb", "\xff"} {
		f.Add(seed)
	}
	a := &Assets{Prefix: staticPath}
	f.Fuzz(func(t *testing.T, rest string) {
		name, ok := a.name(staticPath + rest)
		if !ok {
			return
		}
		for part := range strings.SplitSeq(name, "/") {
			if part == "" || part[0] == '.' || strings.ContainsAny(part, "\x00\\\r\n") {
				t.Errorf("%q means %q", rest, name)
			}
		}
	})
}
