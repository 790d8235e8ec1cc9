package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// smallDisk is a file system of its own for the daemon's state, in a mount
// namespace that ends with the test.
type smallDisk struct {
	t      *testing.T
	holder int // a process in the namespace
	dir    string
}

func mountSmallDisk(t *testing.T, dir string) *smallDisk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	script := `mount -t tmpfs -o size=256k,mode=0700 tmpfs "$0" && exec sleep 86400`
	holder := start(t, "the disk's holder", exec.Command(program(t, "unshare", "util-linux"), "--mount", "/bin/sh", "-c", script, dir))
	s := &smallDisk{t: t, holder: holder.cmd.Process.Pid, dir: dir}
	eventually(t, "the disk is there", func() error {
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", s.holder))
		if err == nil && !strings.Contains(string(mounts), dir) {
			err = errors.New("it is not")
		}
		return err
	})
	return s
}

// by is what starts a program on this disk.
func (s *smallDisk) by() []string {
	return []string{program(s.t, "nsenter", "util-linux"), "--target", strconv.Itoa(s.holder), "--mount", "--"}
}

// path is where the test sees a file of the disk.
func (s *smallDisk) path(name string) string {
	return filepath.Join(fmt.Sprintf("/proc/%d/root", s.holder), s.dir, name)
}

func (s *smallDisk) fill() {
	s.t.Helper()
	f, err := os.Create(s.path("ballast"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
}

func (s *smallDisk) empty() {
	s.t.Helper()
	if err := os.Remove(s.path("ballast")); err != nil {
		s.t.Fatal(err)
	}
}

func (s *smallDisk) remount(how string) {
	s.t.Helper()
	run(s.t, append(s.by(), "mount", "-o", "remount,"+how, s.dir)...)
}

// TestADiskThatFailsCostsNoRequest takes the state's disk away in each way, under
// load: traffic goes on, operations are refused with the reason, and as soon as
// the disk is good again all works, with no other help.
func TestADiskThatFailsCostsNoRequest(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := newDaemon(t, freeAddr(t), blue.addr, green.addr)
	disk := mountSmallDisk(t, filepath.Join(d.dir, "state"))
	d.by = disk.by()
	d.start()
	d.switchTo(switcher.Green, 0) // so that there is something to roll back to
	for _, fault := range []struct {
		name, reason string
		inject, mend func()
	}{
		{"a full disk", "no space left on device", disk.fill, disk.empty},
		{"a disk that may only be read", "read-only file system", func() { disk.remount("ro") }, func() { disk.remount("rw") }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			stop := underLoad(t, d.addr, 4)
			before := d.status().Active
			fault.inject()
			for _, verb := range [][]string{{"switch", "--yes"}, {"hold", "--yes"}, {"rollback", "--yes"}} {
				out, problems, code := d.ctl(verb...)
				if code != control.ExitFailed || !strings.Contains(problems, fault.reason) {
					t.Errorf("%v: exit %d, want 1 and %q: %s%s", verb, code, fault.reason, out, problems)
				}
			}
			if got := d.status(); got.Active != before || got.Held != nil {
				t.Errorf("traffic is on %s, held %v", got.Active, got.Held)
			}
			fault.mend()
			for range 2 {
				d.switchTo("", 0)
			}
			if r := stop(); r.Failed > 0 || r.Sent == 0 {
				t.Errorf("%s", r)
			}
		})
	}
}

// TestADaemonStartsOnADiskThatFails is a reboot of a machine whose disk is full,
// or was mounted read-only after an error: it must bring the traffic back.
func TestADaemonStartsOnADiskThatFails(t *testing.T) {
	blue, green := startSlot(t, "blue"), startSlot(t, "green")
	d := newDaemon(t, freeAddr(t), blue.addr, green.addr)
	disk := mountSmallDisk(t, filepath.Join(d.dir, "state"))
	d.by = disk.by()
	d.start()
	d.switchTo(switcher.Green, 0)
	for _, fault := range []struct {
		name         string
		inject, mend func()
	}{
		{"a full disk", disk.fill, disk.empty},
		{"a disk that may only be read", func() { disk.remount("ro") }, func() { disk.remount("rw") }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			d.kill()
			fault.inject()
			d.start()
			if got := d.status().Active; got != switcher.Green {
				t.Errorf("%s is active, want green", got)
			}
			if _, body := (site{T: t, base: d.addr}).get("/api/v1/echo"); !strings.Contains(string(body), `"slot":"green"`) {
				t.Errorf("%s", body)
			}
			if _, _, code := d.ctl("switch", "--yes"); code != control.ExitFailed {
				t.Errorf("a switch: exit %d, want 1", code)
			}
			fault.mend()
			d.switchTo(switcher.Blue, 0)
			d.switchTo(switcher.Green, 0)
		})
	}
}
