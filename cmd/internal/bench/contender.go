package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"charactier-proxy/cmd/internal/bench/report"
	"charactier-proxy/switcher/control"
)

// contender is one way of reaching the slot.
type contender struct {
	report.Contender
	// cases are those it takes part in; none means all.
	cases []string
	start func(context.Context, *world, setup) (*instance, error)
}

// setup is what a case asks of a contender.
type setup struct {
	// slots are two addresses of the slot; those who know only one take the first.
	slots     [2]string
	accessLog bool
}

// instance is a contender that runs.
type instance struct {
	addr   string
	second string // another address of a slot
	child  *child // nil for the slot itself
	// control switches; ours only.
	control *control.Client
}

func (in *instance) stop() {
	if in.child != nil {
		in.child.stop()
	}
}

// contenders are all who may take part, the first being the one in the picture.
func contenders(o options) []contender {
	list := []contender{
		{report.Contender{Name: "charactier-proxy", Kind: report.Ours}, nil, startOurs(o.program, "")},
		{report.Contender{Name: "nginx", Kind: report.Rival}, nil, startNginx},
		{report.Contender{Name: "HAProxy", Kind: report.Rival}, nil, startHAProxy},
		{report.Contender{Name: "standard lane", Kind: report.Reference}, []string{"get", "post", "64k", "1m", "idle"}, startOurs(o.program, "server: {fast_lane: false}")},
		{report.Contender{Name: "httputil", Kind: report.Reference}, []string{"get"}, startHTTPUtil},
		{report.Contender{Name: "no proxy", Kind: report.Reference}, []string{"get", "1m", "rate", "websocket"}, startNone},
	}
	for _, b := range o.builds {
		list = append(list, contender{report.Contender{Name: b.name, Kind: report.Ours}, nil, startOurs(b.path, b.more)})
	}
	return list
}

// startNone lets the load at the slot itself.
func startNone(_ context.Context, _ *world, s setup) (*instance, error) {
	return &instance{addr: s.slots[0]}, nil
}

// inspect checks before a case that a contender does all that is asked of it: it
// tells the slot whom it speaks for, and keeps its connections to it.
func inspect(ctx context.Context, in *instance) error {
	if in.child == nil {
		return nil
	}
	var kept bool
	for range 10 {
		text, err := get(ctx, "http://"+in.addr+seenPath)
		if err != nil {
			return err
		}
		want := fmt.Sprintf("for=127.0.0.1 real-ip=127.0.0.1 proto=http host=%s ", in.addr)
		serial, ok := strings.CutPrefix(text, want)
		if !ok {
			return fmt.Errorf("the slot saw %q, not %q", text, want)
		}
		kept = kept || serial != "serial=1"
	}
	if !kept {
		return fmt.Errorf("none of ten requests came over a kept connection")
	}
	return nil
}

// inspectSizes checks that answers arrive whole, which wrk does not look at.
func inspectSizes(ctx context.Context, in *instance) error {
	for path, size := range map[string]int{smallPath: smallSize, middlePath: middleSize, largePath: largeSize} {
		body, err := get(ctx, "http://"+in.addr+path)
		if err != nil {
			return err
		}
		if len(body) != size {
			return fmt.Errorf("%s has %d bytes, not %d", path, len(body), size)
		}
	}
	return nil
}

// get returns a good answer's body.
func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s: %.200s", url, resp.Status, body)
	}
	return string(body), err
}

// answers is for [child.await].
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := get(ctx, url)
		return err
	}
}

// takesPart says whether a contender is in a case.
func (c contender) takesPart(key string) bool {
	return len(c.cases) == 0 || slices.Contains(c.cases, key)
}
