package e2e

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// guide is a real nginx as the guide leaves it, in front of two slots and
// beside a daemon that nothing reaches yet.
type guide struct {
	*process
	t           *testing.T
	dir         string
	program     string // what migrate is told to be nginx
	listen      string
	upstream    string // the file
	blue, green *slot
	d           *daemon
}

// startGuide runs nginx with an upstream file in which BLUE and GREEN stand for
// the addresses of the slots.
func startGuide(t *testing.T, upstream string) *guide {
	t.Helper()
	g := &guide{t: t, dir: t.TempDir(), program: program(t, "nginx", "nginx-light"), listen: freeAddr(t)}
	g.blue, g.green = startSlot(t, "blue"), startSlot(t, "green")
	g.d = startDaemon(t, g.blue.addr, g.green.addr)
	g.upstream = filepath.Join(g.dir, "conf.d", "charactier-backend-upstream.conf")
	for _, dir := range []string{"conf.d", "sites-available", "sites-enabled"} {
		g.must(os.Mkdir(filepath.Join(g.dir, dir), 0o755))
	}
	site := nginxSite{Listen: g.listen, Frontend: g.blue.addr}
	g.fill("guide.conf.tmpl", "nginx.conf", map[string]string{"Dir": g.dir, "User": asRoot()})
	g.fill("site.conf.tmpl", "sites-available/site.conf", site)
	g.must(os.Symlink("../sites-available/site.conf", filepath.Join(g.dir, "sites-enabled/site.conf")))
	g.write(upstream)
	g.run()
	return g
}

func asRoot() string {
	if os.Geteuid() == 0 {
		return "root" // or the workers cannot enter the test's directory
	}
	return ""
}

func (g *guide) run() {
	g.t.Helper()
	g.process = start(g.t, "nginx", exec.Command(program(g.t, "nginx", "nginx-light"), "-c", filepath.Join(g.dir, "nginx.conf")))
	g.awaitListening(g.listen)
	g.t.Cleanup(func() {
		g.signal(syscall.SIGTERM)
		<-g.done
		if log, err := os.ReadFile(filepath.Join(g.dir, "error.log")); g.t.Failed() && err == nil && len(log) > 0 {
			g.t.Logf("nginx's error.log:\n%.8000s", log)
		}
	})
}

func (g *guide) fill(tmpl, to string, values any) {
	g.t.Helper()
	parsed, err := template.ParseFiles(filepath.Join(nginxTemplates, tmpl))
	g.must(err)
	f, err := os.Create(filepath.Join(g.dir, to))
	g.must(err)
	g.must(errors.Join(parsed.Execute(f, values), f.Close()))
}

// named is a text with the addresses of this world.
func (g *guide) named(text string) string {
	_, blue, _ := strings.Cut(g.blue.addr, ":")
	_, green, _ := strings.Cut(g.green.addr, ":")
	return strings.NewReplacer("BLUEPORT", blue, "GREENPORT", green, "BLUE", g.blue.addr, "GREEN", g.green.addr, "OURS", g.d.addr).Replace(text)
}

func (g *guide) write(upstream string) {
	g.t.Helper()
	g.must(os.WriteFile(g.upstream, []byte(g.named(upstream)), 0o640))
}

func (g *guide) read() string {
	g.t.Helper()
	text, err := os.ReadFile(g.upstream)
	g.must(err)
	return string(text)
}

func (g *guide) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// migrate runs the verb.
func (g *guide) migrate(args ...string) (stdout, stderr string, code int) {
	g.t.Helper()
	return g.d.ctl(append([]string{
		"--state-dir", filepath.Join(g.d.dir, "state"), "--config", g.d.configFile(), "migrate", "--yes",
		"--nginx", g.program, "--nginx-conf", filepath.Join(g.dir, "nginx.conf"),
	}, args...)...)
}

// migrates runs the verb and wants it to end with a code, saying some texts.
func (g *guide) migrates(code int, says []string, args ...string) string {
	g.t.Helper()
	stdout, stderr, got := g.migrate(args...)
	said := stdout + stderr
	if got != code {
		g.t.Fatalf("migrate %v ended with code %d, want %d:\n%s", args, got, code, said)
	}
	for _, text := range says {
		if !strings.Contains(said, g.named(text)) {
			g.t.Errorf("migrate %v did not say %q:\n%s", args, g.named(text), said)
		}
	}
	return said
}

// holds wants the upstream file to be a text, byte for byte.
func (g *guide) holds(want string) {
	g.t.Helper()
	if got := g.read(); got != g.named(want) {
		g.t.Fatalf("the upstream file holds\n%q, want\n%q", got, g.named(want))
	}
	for _, dir := range []string{"conf.d", "sites-available", "sites-enabled"} {
		entries, err := os.ReadDir(filepath.Join(g.dir, dir))
		g.must(err)
		if len(entries) != 1 {
			g.t.Errorf("%s has %v, want one file", dir, entries)
		}
	}
}

// answersFrom wants a request through nginx to come from a slot, by way of the
// daemon or not.
func (g *guide) answersFrom(slot string, throughUs bool) {
	g.t.Helper()
	count := func() (n uint64) {
		for _, s := range g.d.slots() {
			n += s.Requests
		}
		return n
	}
	// A worker that is about to leave may still take the first ones.
	eventually(g.t, fmt.Sprintf("%s answers, through us: %v", slot, throughUs), func() error {
		before := count()
		got, err := g.ask()
		if err != nil || got != slot {
			return fmt.Errorf("answered by %q, %w", got, err)
		}
		if after := countAfter(count, before, throughUs); (after > before) != throughUs {
			return fmt.Errorf("we have seen %d requests", after-before)
		}
		return nil
	})
}

// countAfter gives the daemon a moment to count what it has answered.
func countAfter(count func() uint64, before uint64, more bool) uint64 {
	for deadline := time.Now().Add(time.Second); more && time.Now().Before(deadline); {
		if n := count(); n > before {
			return n
		}
	}
	return count()
}

func (g *guide) ask() (slot string, err error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + g.listen + "/api/v1/echo")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %w", resp.Status, err)
	}
	return resp.Header.Get("X-Slot"), nil
}

// wrap makes migrate call nginx through a shell script; $real is nginx.
func (g *guide) wrap(script string) {
	g.t.Helper()
	g.program = filepath.Join(g.dir, "wrapped")
	text := fmt.Sprintf("#!/bin/sh\nreal=%s\n%s\nexec \"$real\" \"$@\"\n", program(g.t, "nginx", "nginx-light"), script)
	g.must(os.WriteFile(g.program, []byte(text), 0o755))
}

func (g *guide) unwrap() { g.program = program(g.t, "nginx", "nginx-light") }

// customers send orders, one after the other, each on a connection of its own.
type customers struct {
	g      *guide
	run    string
	stop   context.CancelFunc
	ended  sync.WaitGroup
	begun  atomic.Int64
	mu     sync.Mutex
	failed []error
}

func (g *guide) customers(n int) *customers {
	ctx, stop := context.WithCancel(g.t.Context())
	c := &customers{g: g, run: rand.Text()[:8], stop: stop}
	g.t.Cleanup(c.ended.Wait) // the context ends before, also of a test that failed
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	for range n {
		c.ended.Go(func() {
			for ctx.Err() == nil {
				if err := c.order(client, fmt.Sprintf("%s-%d", c.run, c.begun.Add(1))); err != nil {
					c.mu.Lock()
					c.failed = append(c.failed, err)
					c.mu.Unlock()
				}
			}
		})
	}
	return c
}

func (c *customers) order(client *http.Client, id string) error {
	req, err := http.NewRequest("POST", "http://"+c.g.listen+"/api/v1/orders", strings.NewReader(`{"id":"`+id+`"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", id)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

// awaitMore waits until n more orders have begun.
func (c *customers) awaitMore(n int64) {
	c.g.t.Helper()
	until := c.begun.Load() + n
	eventually(c.g.t, "customers order", func() error {
		if now := c.begun.Load(); now < until {
			return fmt.Errorf("%d of %d", now, until)
		}
		return nil
	})
}

// leave ends them, and says how many orders there were and what went wrong.
func (c *customers) leave() (sent int, failed []error) {
	c.stop()
	c.ended.Wait()
	return int(c.begun.Load()), c.failed
}
