package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// demoStart bounds how long the demo's programs may take to come up.
const demoStart = 20 * time.Second

// demoWorld is everything that a demo starts. close ends it.
type demoWorld struct {
	ctx    context.Context // ends with Ctrl-C, or with the cause of an early death
	end    context.CancelCauseFunc
	outer  context.Context // ends with Ctrl-C only
	dir    string
	self   string // this program
	daemon string // the other one

	addr   string // of the service
	admin  string
	slots  map[switcher.Slot]string
	client *control.Client
	// children in the order in which they were started.
	children []*child
}

// newDemoWorld finds the programs and free ports, and starts nothing. With an
// error there is nothing to close.
func newDemoWorld(ctx context.Context, e *env) (*demoWorld, error) {
	w := &demoWorld{outer: ctx, slots: map[switcher.Slot]string{}}
	w.ctx, w.end = context.WithCancelCause(ctx)
	dir, err := os.MkdirTemp("", "charactier-proxy-demo-")
	if err != nil {
		return w, fmt.Errorf("making a directory for the demo: %w", err)
	}
	w.dir = dir
	w.client = &control.Client{Socket: filepath.Join(dir, "control.sock")}
	if err := w.find(e); err != nil {
		return w, errors.Join(err, w.close())
	}
	return w, nil
}

func (w *demoWorld) find(e *env) (err error) {
	if w.self, err = os.Executable(); err != nil {
		return fmt.Errorf("looking for this program's file: %w", err)
	}
	if w.daemon, err = findDaemon(w.ctx, w.self, w.dir, e); err != nil {
		return err
	}
	ports, err := freeAddrs(4)
	if err != nil {
		return err
	}
	w.addr, w.admin = ports[0], ports[1]
	w.slots[switcher.Blue], w.slots[switcher.Green] = ports[2], ports[3]
	return nil
}

// findDaemon looks beside this program, then in $PATH, and in a checkout it
// builds.
func findDaemon(ctx context.Context, self, dir string, e *env) (string, error) {
	const name = "charactier-proxy"
	if beside := filepath.Join(filepath.Dir(self), name); isExecutable(beside) {
		return beside, nil
	}
	if found, err := exec.LookPath(name); err == nil {
		return found, nil
	}
	module, err := exec.CommandContext(ctx, "go", "list", "-m").Output()
	if err != nil || strings.TrimSpace(string(module)) != name {
		return "", usagef("in a checkout, make demo builds both", "%s is neither beside this program nor in $PATH", name)
	}
	e.notef("building %s", name)
	built := filepath.Join(dir, name)
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", built, name+"/cmd/"+name).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return built, nil
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// freeAddrs returns addresses that nobody listens on now.
func freeAddrs(n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		defer l.Close() // only now, so that no two are the same
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

const demoConfig = `# The demo's configuration. Change it: the daemon takes it up at once.
services:
  demo:
    listen: %s
    slots:
      blue: {address: "%s", unit: ""}
      green: {address: "%s", unit: ""}
admin: {listen: "%s"}
control: {group: ""}
`

func (w *demoWorld) configFile() string { return filepath.Join(w.dir, "config.yaml") }

// start brings everything up and waits until both slots are healthy.
func (w *demoWorld) start() error {
	config := fmt.Sprintf(demoConfig, w.addr, w.slots[switcher.Blue], w.slots[switcher.Green], w.admin)
	if err := os.WriteFile(w.configFile(), []byte(config), 0o600); err != nil {
		return fmt.Errorf("writing the demo's configuration: %w", err)
	}
	for _, slot := range []switcher.Slot{switcher.Blue, switcher.Green} {
		if err := w.spawn("slot "+string(slot), w.self, "demo", demoSlotVerb, "--slot", string(slot), "--listen", w.slots[slot]); err != nil {
			return err
		}
	}
	if err := w.await("both slots to answer", w.slotsAnswer); err != nil {
		return err
	}
	err := w.spawn("charactier-proxy", w.daemon, "--config", w.configFile(),
		"--state-dir", filepath.Join(w.dir, "state"), "--socket", w.client.Socket)
	if err != nil {
		return err
	}
	return w.await("both slots to be healthy", w.slotsHealthy)
}

func (w *demoWorld) slotsAnswer(ctx context.Context) error {
	for _, addr := range w.slots {
		resp, err := demoGet(ctx, "http://"+addr+"/api/v1/health")
		if err != nil {
			return err
		}
		resp.Body.Close()
	}
	return nil
}

func (w *demoWorld) slotsHealthy(ctx context.Context) error {
	status, err := w.client.Status(ctx)
	if err != nil {
		return err
	}
	for _, slot := range status.Services[0].Slots {
		if slot.Health.State != "healthy" {
			return fmt.Errorf("%s is %s", slot.Name, slot.Health.State)
		}
	}
	return nil
}

// await asks until there is no error, the time is up or a child has died.
func (w *demoWorld) await(what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.ctx, demoStart)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, w.cause(err))
		}
	}
}

// cause is why the world ended, if it has: it explains err better than err.
func (w *demoWorld) cause(err error) error {
	if cause := context.Cause(w.ctx); cause != nil {
		return cause
	}
	return err
}

// interrupted says that the operator ended the demo, nobody else.
func (w *demoWorld) interrupted() bool { return w.outer.Err() != nil }

// orders adds up how often the slots executed each order of a load.
func (w *demoWorld) orders(run string) (map[string]int, error) {
	executed := map[string]int{}
	for slot, addr := range w.slots {
		if err := addOrders(w.ctx, addr, run, executed); err != nil {
			return nil, fmt.Errorf("asking slot %s for its orders: %w", slot, w.cause(err))
		}
	}
	return executed, nil
}

// addOrders reads lines of "id count".
func addOrders(ctx context.Context, addr, run string, executed map[string]int) error {
	resp, err := demoGet(ctx, "http://"+addr+"/api/v1/orders")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		id, text, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if strings.HasPrefix(id, run+"-") {
			executed[id] += n
		}
	}
	return lines.Err()
}

func demoGet(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	return http.DefaultTransport.RoundTrip(req)
}

// close ends the children, the last one first, and removes the directory.
func (w *demoWorld) close() error {
	w.end(errDemoOver)
	for i := len(w.children) - 1; i >= 0; i-- {
		w.children[i].stop()
	}
	if err := os.RemoveAll(w.dir); err != nil {
		return fmt.Errorf("removing the demo's directory: %w", err)
	}
	return nil
}
