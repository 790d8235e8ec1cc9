package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/paths"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// The steps of a switch at which a daemon may die: on each side of whatever
// touches the disk or the traffic.
var dyingSteps = []string{
	"before saving 1", "after saving 1", "before swapping", "after swapping",
	"before saving 2", "after saving 2",
}

// dying kills its own process, as SIGKILL from outside would, at one step.
type dying struct {
	at    string
	saved int
}

func (d *dying) step(name string) {
	if name != d.at {
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // the signal is on its way
}

type dyingStore struct {
	switcher.Store
	*dying
}

// Save counts from the first save of a switch: the one with its intent.
func (s dyingStore) Save(st switcher.State) error {
	if st.Intent == nil && s.saved == 0 {
		return s.Store.Save(st)
	}
	s.saved++
	s.step(fmt.Sprint("before saving ", s.saved))
	err := s.Store.Save(st)
	s.step(fmt.Sprint("after saving ", s.saved))
	return err
}

type dyingTraffic struct {
	switcher.Traffic
	*dying
}

func (t dyingTraffic) Swap(to map[string]switcher.Slot) (switcher.Drain, error) {
	t.step("before swapping")
	drain, err := t.Traffic.Swap(to)
	t.step("after swapping")
	return drain, err
}

// runDying is the daemon of these tests, a process of its own.
func runDying(ctx context.Context, at string, args []string) int {
	o, err := parseFlags(args)
	if err != nil {
		panic(err)
	}
	p := paths.ForDaemon(o.flags, os.Getenv, os.Geteuid())
	cfg, err := config.Load(p.Config)
	if err != nil {
		panic(err)
	}
	d := &dying{at: at}
	return serve(ctx, daemonOptions{
		paths: p, config: cfg, version: config.VersionOf(p.Config), stderr: os.Stderr,
		wrapStore:   func(s switcher.Store) switcher.Store { return dyingStore{s, d} },
		wrapTraffic: func(t switcher.Traffic) switcher.Traffic { return dyingTraffic{t, d} },
	})
}

// A daemon that is killed between any two steps of a switch is on exactly one
// slot of each service afterwards: where it was until the result is on disk,
// moved from then on. Its listener outlives it, as with socket activation, so
// that nobody is refused.
func TestAKillBetweenAnyTwoStepsLeavesOneActiveSlot(t *testing.T) {
	for _, services := range []int{1, 2} {
		for _, step := range dyingSteps {
			t.Run(fmt.Sprintf("%d services %s", services, step), func(t *testing.T) {
				w := newKillWorld(t, services)
				w.start(step)
				_, err := w.client.Switch(t.Context(), control.SwitchRequest{})
				if err == nil {
					t.Fatal("the switch was answered although the daemon should have died")
				}
				w.awaitDeath()
				pending := w.ask(0) // waits in the listener's queue
				w.start("never")

				want := switcher.Blue
				if step == "after saving 2" {
					want = switcher.Green
				}
				status, err := w.client.Status(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if told := strings.Contains(status.State.Note, "the daemon ended during switch"); told != w.wasInterrupted(want) {
					t.Errorf("the status says of the start: %q", status.State.Note)
				}
				for i, s := range status.Services {
					if s.Active != want {
						t.Errorf("%s is on %s, want %s", s.Name, s.Active, want)
					}
					if got := answer(t, w.ask(i)); got != string(want) {
						t.Errorf("%s: %s answered, want %s", s.Name, got, want)
					}
				}
				if got := answer(t, pending); got != string(want) {
					t.Errorf("the request that waited was answered by %q, want %s", got, want)
				}
				w.checkHistory(want)
				// And there is a way on from here.
				if _, err := w.client.Switch(t.Context(), control.SwitchRequest{To: switcher.Green}); err != nil {
					t.Errorf("the next switch: %v", err)
				}
			})
		}
	}
}

// killWorld is a daemon with listeners that outlive it.
type killWorld struct {
	*testing.T
	dir       string
	listeners []*os.File
	addresses []string
	client    *control.Client
	cmd       *exec.Cmd
	died      chan struct{}
}

func newKillWorld(t *testing.T, services int) *killWorld {
	return newKillWorldOf(t, services, func(int) (blue, green string) { return namedSlot(t, "blue"), namedSlot(t, "green") })
}

func newKillWorldOf(t *testing.T, services int, slots func(service int) (blue, green string)) *killWorld {
	w := &killWorld{T: t, dir: shortDir(t)}
	var yaml strings.Builder
	yaml.WriteString("services:\n")
	for i := range services {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		file, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		w.addresses = append(w.addresses, ln.Addr().String())
		w.listeners = append(w.listeners, file)
		t.Cleanup(func() { file.Close() })
		ln.Close() // the file keeps the socket listening
		blue, green := slots(i)
		fmt.Fprintf(&yaml, serviceYAML, fmt.Sprint("s", i), w.addresses[i], blue, green)
	}
	yaml.WriteString("admin: {listen: \"\"}\n")
	if err := os.WriteFile(filepath.Join(w.dir, "config.yaml"), []byte(yaml.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	w.client = &control.Client{Socket: filepath.Join(w.dir, "c.sock")}
	return w
}

const serviceYAML = `  %s:
    listen: [%q]
    slots:
      blue: {address: %q}
      green: {address: %q}
    health: {path: /health, interval: 50ms}
`

func (w *killWorld) start(diesAt string) {
	w.Helper()
	cmd := exec.Command(os.Args[0], "--config", filepath.Join(w.dir, "config.yaml"),
		"--state-dir", filepath.Join(w.dir, "state"), "--socket", w.client.Socket)
	cmd.Env = append(os.Environ(), diesAtVar+"="+diesAt, fmt.Sprint("LISTEN_FDS=", len(w.listeners)))
	cmd.ExtraFiles = w.listeners
	log := &logBuffer{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.cmd, w.died = cmd, make(chan struct{})
	go func(died chan struct{}) {
		defer close(died)
		_ = cmd.Wait() // it is meant to be killed
	}(w.died)
	w.Cleanup(func() {
		if w.cmd == cmd {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			w.awaitDeath()
		}
		if w.Failed() {
			w.Logf("the daemon that dies at %q said:\n%s", diesAt, log)
		}
	})
	await(w.T, "the daemon to answer", func() bool {
		_, err := w.client.Status(w.Context())
		return err == nil
	})
}

func (w *killWorld) awaitDeath() {
	w.Helper()
	select {
	case <-w.died:
	case <-time.After(20 * time.Second):
		w.Error("the daemon did not end")
		_ = w.cmd.Process.Kill()
	}
}

// ask sends a request to a service and does not wait for the answer.
func (w *killWorld) ask(service int) <-chan result {
	answered := make(chan result, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
		res, err := client.Get("http://" + w.addresses[service] + "/")
		if err != nil {
			answered <- result{err: err}
			return
		}
		defer res.Body.Close()
		var body struct{ Slot string }
		err = json.NewDecoder(res.Body).Decode(&body)
		answered <- result{body.Slot, err}
	}()
	return answered
}

type result struct {
	slot string
	err  error
}

func answer(t *testing.T, r <-chan result) string {
	t.Helper()
	got := <-r
	if got.err != nil {
		t.Error(got.err)
	}
	return got.slot
}

// checkHistory wants the switch to be told of once, by its outcome.
func (w *killWorld) checkHistory(active switcher.Slot) {
	w.Helper()
	records, err := w.client.History(w.Context(), 10)
	if err != nil {
		w.Fatal(err)
	}
	var outcomes []switcher.Outcome
	for _, r := range records {
		if r.Kind == switcher.KindSwitch {
			outcomes = append(outcomes, r.Outcome)
		}
	}
	want := []switcher.Outcome{switcher.Interrupted}
	switch {
	case active == switcher.Green:
		want = []switcher.Outcome{switcher.Done}
	case w.intentWasNotSaved():
		want = nil
	}
	if fmt.Sprint(outcomes) != fmt.Sprint(want) {
		w.Errorf("the history tells of switches that ended %v, want %v", outcomes, want)
	}
}

func (w *killWorld) wasInterrupted(active switcher.Slot) bool {
	return active == switcher.Blue && !w.intentWasNotSaved()
}

func (w *killWorld) intentWasNotSaved() bool { return strings.HasSuffix(w.Name(), "before_saving_1") }
