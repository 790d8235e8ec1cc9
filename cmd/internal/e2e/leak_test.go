package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

// usage is what the daemon holds of things that can leak.
type usage struct {
	fds, goroutines int
	rss             int64 // bytes
}

func (u usage) String() string {
	return fmt.Sprintf("%d descriptors, %d goroutines, %d MiB resident", u.fds, u.goroutines, u.rss>>20)
}

func (d *daemon) usage() (usage, error) {
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	if err != nil {
		return usage{}, err
	}
	rss, err := residentBytes(d.cmd.Process.Pid)
	if err != nil {
		return usage{}, err
	}
	goroutines, err := goroutines(d.admin)
	return usage{len(fds), goroutines, rss}, err
}

// residentBytes reads the second number of statm, in pages.
func residentBytes(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(statm))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// goroutines reads the first line of the profile: "goroutine profile: total N".
func goroutines(admin string) (int, error) {
	resp, err := http.Get("http://" + admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	first, _, _ := bytes.Cut(body, []byte("\n"))
	_, total, found := strings.Cut(string(first), "total ")
	if !found {
		return 0, errors.New("no count in " + string(first))
	}
	return strconv.Atoi(total)
}

// TestSoakNothingGrowsOverManySwitches compares what the daemon holds after a
// warm-up with what it holds after many more switches, at rest both times.
func TestSoakNothingGrowsOverManySwitches(t *testing.T) {
	switches := size(t, "SOAK_LEAK_SWITCHES", 300, 10_000)
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := startDaemon(t, blue.addr, green.addr)
	fresh, err := d.usage()
	if err != nil {
		t.Fatal(err)
	}

	d.churn(switches / 5)
	before := d.atRest(fresh)
	d.churn(switches)
	after := d.atRest(fresh)

	t.Logf("fresh:     %s", fresh)
	t.Logf("warmed up: %s", before)
	t.Logf("after %d switches under load: %s", switches, after)
	if limit := before.rss*3/2 + 32<<20; after.rss > limit {
		t.Errorf("%d MiB resident, want at most %d", after.rss>>20, limit>>20)
	}
}

// churn switches n times under a light load.
func (d *daemon) churn(n int64) {
	d.t.Helper()
	stop := underLoad(d.t, d.addr, 4)
	for range n {
		d.switchTo("", 0)
	}
	if r := stop(); r.Failed > 0 {
		d.t.Errorf("%s", r)
	}
	if d.status().Active != switcher.Blue {
		d.switchTo(switcher.Blue, 0)
	}
}

// slack is what descriptors and goroutines may differ by at rest: a probe, an
// admin connection, a few idle ones to the slots.
const slack = 12

// atRest waits until descriptors and goroutines are back where they were.
func (d *daemon) atRest(fresh usage) (now usage) {
	d.t.Helper()
	eventually(d.t, "descriptors and goroutines are back at "+fresh.String(), func() (err error) {
		http.DefaultClient.CloseIdleConnections()
		if now, err = d.usage(); err != nil {
			return err
		}
		if now.fds > fresh.fds+slack || now.goroutines > fresh.goroutines+slack {
			return errors.New("now " + now.String())
		}
		return nil
	})
	return now
}
