package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// streamsOfAStop is how long a slot that is told to end waits for its streams.
const streamsOfAStop = 1500 * time.Millisecond

// slot is a Node process, in one life after the other, and the link to it.
type slot struct {
	place
	addr string
	link *link
	opts *Options

	// busy is held by whoever breaks it, one at a time.
	busy sync.Mutex
	life int
	*process
}

func newSlot(o *Options, at place) (*slot, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	l, err := openLink(addr, 2)
	if err != nil {
		return nil, err
	}
	return &slot{place: at, addr: addr, link: l, opts: o}, nil
}

// start begins the next life.
func (s *slot) start(ctx context.Context) error {
	s.life++
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	cmd := exec.Command("node", "server.js")
	cmd.Dir = s.opts.App
	cmd.Env = append(os.Environ(), "PORT="+port, "SLOT="+string(s.Slot), fmt.Sprintf("REVISION=%d", s.life),
		"ARRIVALS="+s.arrivals(s.life), fmt.Sprintf("STOP_TIMEOUT_MS=%d", streamsOfAStop.Milliseconds()))
	s.process, err = spawn("slot "+s.String(), s.file("log"), cmd)
	if err != nil {
		return err
	}
	return s.awaitListening(ctx, s.addr)
}

func (s *slot) file(what string) string {
	return filepath.Join(s.opts.Dir, s.Service+"-"+string(s.Slot)+"."+what)
}

// arrivals is where a life writes down what arrives.
func (s *slot) arrivals(life int) string { return s.file(fmt.Sprintf("arrivals-%d", life)) }

// sightings are all that arrived, by id.
func (s *slot) sightings(into map[string][]sighting) error {
	for life := 1; life <= s.life; life++ {
		text, err := os.ReadFile(s.arrivals(life))
		if err != nil {
			return err
		}
		for line := range bytes.Lines(text) {
			seen := sighting{place: s.place, Life: fmt.Sprint(life)}
			var id string
			if _, err := fmt.Sscan(string(line), &seen.At, &seen.Method, &id); err != nil {
				return fmt.Errorf("%s: %q: %w", s.arrivals(life), line, err)
			}
			into[id] = append(into[id], seen)
		}
	}
	return nil
}

// awaitHealthy waits until it answers, asked directly.
func (s *slot) awaitHealthy(ctx context.Context) error {
	return eventually(ctx, func() error { return s.ask(http.MethodGet, "") })
}

func (s *slot) setHealthy(healthy bool) error {
	return s.ask(http.MethodPut, fmt.Sprintf(`{"healthy":%t}`, healthy))
}

// ask sends one request to its health route, past the daemon and the link.
func (s *slot) ask(method, body string) error {
	req, err := http.NewRequest(method, "http://"+s.addr+"/api/v1/health", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", s, resp.Status)
	}
	return nil
}

// killed is a crash and a new life after a while.
func (s *slot) killed(ctx context.Context, n *notes, lasts time.Duration) error {
	f := n.breaks(slotKilled, s.place)
	s.link.deafen()
	s.kill()
	n.sure(f)
	pause(ctx, lasts)
	return s.again(ctx, n, f)
}

// stopped is a restart as systemd does it.
func (s *slot) stopped(ctx context.Context, n *notes) error {
	f := n.breaks(slotStopped, s.place)
	s.link.deafen()
	if err := s.stop(patience); err != nil {
		return err
	}
	if s.cmd.ProcessState.ExitCode() != 0 {
		// It did not wait any longer for what was under way, and cut it.
		cut := n.breaks(slotKilled, s.place)
		cut.Begun = f.Begun
		defer n.mended(cut)
	}
	return s.again(ctx, n, f)
}

// hung is a process that does nothing for a while.
func (s *slot) hung(ctx context.Context, n *notes, lasts time.Duration) error {
	f := n.breaks(slotHung, s.place)
	s.signal(syscall.SIGSTOP)
	pause(ctx, lasts)
	s.signal(syscall.SIGCONT)
	if err := s.awaitHealthy(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	n.mended(f)
	return nil
}

// again starts the next life. The link refuses in the meantime, as the port of
// a slot that is not there does.
func (s *slot) again(ctx context.Context, n *notes, f *fault) error {
	ctx = context.WithoutCancel(ctx)
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := eventually(ctx, s.link.listen); err != nil {
		return err
	}
	n.mended(f)
	return nil
}
