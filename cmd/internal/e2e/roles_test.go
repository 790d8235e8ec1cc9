package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"charactier-proxy/switcher"
)

// jobs is the file in which both slots note each run of their job.
type jobs struct {
	t    *testing.T
	file string
}

// runs returns how often the job ran in each slot, and the moments at which it
// ran more than once.
func (j jobs) runs() (bySlot map[string]int, twice []string) {
	j.t.Helper()
	raw, err := os.ReadFile(j.file)
	if err != nil {
		j.t.Fatal(err)
	}
	bySlot, seen := map[string]int{}, map[string]string{}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			j.t.Fatalf("the job noted %q", line)
		}
		if before, again := seen[f[0]]; again {
			twice = append(twice, before+" and "+strings.TrimSpace(line))
		}
		seen[f[0]] = strings.TrimSpace(line)
		bySlot[f[1]]++
	}
	return bySlot, twice
}

// awaitRuns waits for n further runs in a slot.
func (j jobs) awaitRuns(slot string, n int) {
	j.t.Helper()
	before, _ := j.runs()
	eventually(j.t, fmt.Sprintf("%d runs in %s", n, slot), func() error {
		if now, _ := j.runs(); now[slot] < before[slot]+n {
			return fmt.Errorf("%d so far", now[slot]-before[slot])
		}
		return nil
	})
}

func (d *daemon) awaitRole(slot switcher.Slot, role string) {
	d.t.Helper()
	eventually(d.t, fmt.Sprintf("%s is %s", slot, role), func() error {
		if r := d.slots()[slot].Role; r == nil || r.Told != role || r.Wanted != role {
			return fmt.Errorf("it is %+v", r)
		}
		return nil
	})
}

// Both slots run the same job at the same moments, as the app's cron jobs do.
// While the traffic goes to and fro, and processes and the daemon die, it runs at
// most once at each moment, and always goes on.
func TestAJobRunsOnceAcrossBothSlots(t *testing.T) {
	j := jobs{t, filepath.Join(t.TempDir(), "jobs")}
	env := []string{"JOB_LEDGER=" + j.file, "JOB_EVERY_MS=40"}
	slots := map[switcher.Slot]*slot{
		switcher.Blue:  startSlot(t, "blue", env...),
		switcher.Green: startSlot(t, "green", env...),
	}
	d := startDaemon(t, slots[switcher.Blue].addr, slots[switcher.Green].addr, "role: {path: /internal/role, refresh: 1s}")
	d.awaitRole(switcher.Blue, "active")
	j.awaitRuns("blue", 3)
	active := switcher.Blue
	for range size(t, "SOAK_ROLE_SWITCHES", 10, 200) {
		active = active.Other()
		d.switchTo(active, -1)
		j.awaitRuns(string(active), 2)
	}

	t.Log("the active slot is killed and comes back")
	slots[active].kill()
	slots[active].start()
	j.awaitRuns(string(active), 2)

	t.Log("the old slot is killed, and the traffic moves to it when it is back")
	slots[active.Other()].kill()
	slots[active.Other()].start()
	active = active.Other()
	d.switchTo(active, -1)
	j.awaitRuns(string(active), 2)

	t.Log("the daemon is killed: who was active goes on")
	d.kill()
	j.awaitRuns(string(active), 5)
	d.start()
	d.awaitRole(active, "active")
	active = active.Other()
	d.switchTo(active, -1)
	j.awaitRuns(string(active), 2)

	bySlot, twice := j.runs()
	if len(twice) > 0 {
		t.Errorf("ran twice: %q", twice)
	}
	t.Logf("runs: %v", bySlot)
}

// A process that hangs when it should become standby delays the other one by one
// timeout, and neither the switch nor a request.
func TestAHungSlotHandsItsRoleOver(t *testing.T) {
	j := jobs{t, filepath.Join(t.TempDir(), "jobs")}
	env := []string{"JOB_LEDGER=" + j.file, "JOB_EVERY_MS=40"}
	blue, green := startSlot(t, "blue", env...), startSlot(t, "green", env...)
	d := startDaemon(t, blue.addr, green.addr, "role: {path: /internal/role, timeout: 500ms, refresh: 1s}")
	d.awaitRole(switcher.Blue, "active")
	j.awaitRuns("blue", 2)
	blue.signal(syscall.SIGSTOP)
	d.switchTo(switcher.Green, -1)
	if resp, err := http.Get("http://" + d.addr + "/api/v1/health"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("a request after the switch: %v %v", resp, err)
	} else {
		resp.Body.Close()
	}
	j.awaitRuns("green", 2)
	blue.signal(syscall.SIGCONT)
	d.awaitRole(switcher.Blue, "standby")
}

func TestNobodyButTheDaemonTellsASlotItsRole(t *testing.T) {
	// A path that nginx would pass on.
	const path = "/api/v1/internal/role"
	blue, green := startSlot(t, "blue", "ROLE_PATH="+path), startSlot(t, "green", "ROLE_PATH="+path)
	d := startDaemon(t, blue.addr, green.addr, "role: {path: "+path+"}")
	d.awaitRole(switcher.Green, "standby")
	order := `{"role":"active","service":"backend","slot":"green","generation":99}`
	tell := func(addr string, field, value string) int {
		req, err := http.NewRequest("POST", "http://"+addr+path, strings.NewReader(order))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(field, value)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := tell(d.addr, "Accept", "*/*"); got != http.StatusNotFound {
		t.Errorf("through the proxy: %d", got)
	}
	if got := tell(startNginx(t, green.addr).site.Listen, "Host", "example.com"); got != http.StatusForbidden {
		t.Errorf("through an nginx that leads to the slot: %d", got)
	}
	if got := d.slots()[switcher.Green].Role.Told; got != "standby" {
		t.Errorf("green is %s", got)
	}
}
