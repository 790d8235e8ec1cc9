package proxy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// Assets are files that earlier releases of a service had, for the open tabs
// that still ask for them. Where the active slot answers 404 to a GET or HEAD
// below Prefix and Files has the file, the client gets that instead; in every
// other case the slot's answer passes as it is. Such an answer is the file's from
// the first field to the last byte, never a mixture with the slot's (P4).
type Assets struct {
	// Prefix is the path that the files are below, as clients spell it. It ends
	// with a slash.
	Prefix string
	// Files opens a file by its path below Prefix, decoded once. No part of the
	// name is empty, begins with a dot or holds a control character or a
	// backslash. It is called on the request's goroutine, so it must not take
	// long, and its files must be able to seek.
	Files fs.FS
}

const (
	// maxAssetName bounds a name; Next.js makes them a few dozen bytes long.
	maxAssetName = 1024
	// assetCaching is what Next.js says of the files below its static path: each
	// name stands for one content for ever.
	assetCaching = "public, max-age=31536000, immutable"
	// maxUnwanted and unwantedWait bound what is read of a slot's 404 that nobody
	// wants, so that its connection can be used again.
	maxUnwanted  = 64 << 10
	unwantedWait = 100 * time.Millisecond
)

// errAssetServed is what [forwarder.answered] returns to ReverseProxy after an
// asset: there is nothing left to answer.
var errAssetServed = errors.New("the answer was a kept asset")

var errAssetShort = errors.New("the kept asset is shorter than its length")

// asset is an open file and what HTTP says about it.
type asset struct {
	io.ReadSeekCloser
	name     string
	size     int64
	modified time.Time
}

// open returns the file that the request asks for, or nil.
func (a *Assets) open(r *http.Request, spelled string) *asset {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil
	}
	name, ok := a.name(spelled)
	if !ok {
		return nil
	}
	file, err := a.Files.Open(name)
	if err != nil {
		return nil
	}
	content, seeks := file.(io.ReadSeekCloser)
	info, err := file.Stat()
	if !seeks || err != nil || !info.Mode().IsRegular() {
		file.Close() //nolint:errcheck // nothing was written to it
		return nil
	}
	return &asset{content, name, info.Size(), info.ModTime()}
}

// name is the file that a path means. Like Next.js it decodes once, so that
// %2F parts a name as a slash does, and %252F does not.
func (a *Assets) name(spelled string) (string, bool) {
	rest, below := strings.CutPrefix(spelled, a.Prefix)
	if !below || len(rest) > 3*maxAssetName {
		return "", false
	}
	name, err := url.PathUnescape(rest)
	if err != nil || len(name) > maxAssetName || !fs.ValidPath(name) || strings.ContainsFunc(name, notInAssetName) {
		return "", false
	}
	hidden := strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
	return name, !hidden
}

func notInAssetName(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }

// serveAsset answers with the file in place of the slot's 404. The slot's
// connection is let go first: a client may take its time.
func (x *relay) serveAsset(res *http.Response, file *asset) error {
	defer file.Close() //nolint:errcheck // nothing was written to it
	discard(res.Body)
	x.assets = true
	h := x.w.Header()
	file.serve(&x.w, x.r, res.Header)
	if length := h.Get("Content-Length"); x.r.Method == http.MethodGet && length != "" && length != strconv.FormatInt(x.w.n, 10) {
		if x.w.err == nil {
			x.cause, x.err = causeInternal, errAssetShort
		}
		panic(http.ErrAbortHandler)
	}
	return errAssetServed
}

// serve answers with the file where the slot answered with that header.
func (a *asset) serve(w http.ResponseWriter, r *http.Request, slot http.Header) {
	h := w.Header()
	keepSharingRules(h, slot)
	h.Set("Content-Type", assetType(a.name))
	h.Set("Cache-Control", assetCaching)
	h.Set("Etag", a.tag())
	http.ServeContent(w, r, "", a.modified, a)
}

// tag is the entity tag that Next.js gives the same file, from size and time, so
// that what a browser has from the slot stays valid.
func (a *asset) tag() string {
	return fmt.Sprintf(`W/"%x-%x"`, a.size, a.modified.Round(time.Millisecond).UnixMilli())
}

// keepSharingRules copies what the slot says to whoever asks, of the site rather
// than of the answer: to which pages and by which connections.
func keepSharingRules(to, from http.Header) {
	for name, values := range from {
		if strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Cross-Origin-") {
			to[name] = values
		}
	}
	for _, name := range [...]string{"Strict-Transport-Security", "Timing-Allow-Origin", "Vary", "X-Content-Type-Options"} {
		if values, ok := from[name]; ok {
			to[name] = values
		}
	}
}

// discard reads a body that nobody wants to its end, if that is near, and closes
// it.
func discard(body io.ReadCloser) {
	if rest, ok := body.(interface {
		drain(most int64, within time.Duration)
	}); ok {
		rest.drain(maxUnwanted, unwantedWait)
	}
	body.Close() //nolint:errcheck // nobody wants it
}

// assetTypes are the types that Next.js gives the files of a build. The
// machine's own table has no say: it differs from one to the next.
var assetTypes = map[string]string{
	".avif":        "image/avif",
	".cjs":         "application/node",
	".css":         "text/css; charset=UTF-8",
	".eot":         "application/vnd.ms-fontobject",
	".gif":         "image/gif",
	".html":        "text/html; charset=UTF-8",
	".ico":         "image/x-icon",
	".jpeg":        "image/jpeg",
	".jpg":         "image/jpeg",
	".js":          "application/javascript; charset=UTF-8",
	".json":        "application/json; charset=UTF-8",
	".map":         "application/json; charset=UTF-8",
	".mjs":         "application/javascript; charset=UTF-8",
	".mp3":         "audio/mpeg",
	".mp4":         "video/mp4",
	".ogg":         "audio/ogg",
	".otf":         "font/otf",
	".pdf":         "application/pdf",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".ttf":         "font/ttf",
	".txt":         "text/plain; charset=UTF-8",
	".wasm":        "application/wasm",
	".wav":         "audio/wav",
	".webm":        "video/webm",
	".webmanifest": "application/manifest+json; charset=UTF-8",
	".webp":        "image/webp",
	".woff":        "font/woff",
	".woff2":       "font/woff2",
	".xml":         "application/xml",
}

func assetType(name string) string {
	if t, ok := assetTypes[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return "application/octet-stream"
}
