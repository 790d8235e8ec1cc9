package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The shipped units are tested with systemd's own tool; a machine without it
// cannot say that they are right, so there these tests fail.

// installed copies the units to a directory of their own, with every program
// they name replaced by one that exists here.
func installed(t *testing.T) (paths []string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := strings.NewReplacer("/usr/local/bin/charactier-proxyctl", program, "/usr/local/bin/charactier-proxy", program, "/usr/bin/node", program)
	sources, err := filepath.Glob("units/charactier-*")
	if err != nil || len(sources) == 0 {
		t.Fatalf("units: %v, %v", sources, err)
	}
	dir := t.TempDir()
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.Base(source))
		if err := os.WriteFile(path, []byte(programs.Replace(string(text))), 0o644); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", args...)
	cmd.Env = append(os.Environ(), "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestUnitsAreUnderstoodBySystemd(t *testing.T) {
	// It only warns of keys and values it does not know, and ends well.
	out, err := analyze(t, append([]string{"verify"}, installed(t)...)...)
	if err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestServicesAreHardened(t *testing.T) {
	for _, path := range installed(t) {
		if filepath.Ext(path) != ".service" {
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			// The threshold is in tenths: an exposure of 2.0.
			out, err := analyze(t, "security", "--offline=true", "--threshold=20", path)
			if err != nil || !strings.Contains(out, "Overall exposure level") {
				t.Errorf("systemd-analyze security: %v\n%s", err, out)
			}
		})
	}
}

func TestBlueAndGreenAreTheSameSlot(t *testing.T) {
	read := func(slot string) string {
		text, err := os.ReadFile("units/charactier-backend-" + slot + ".service")
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	green := strings.NewReplacer("blue", "green", "green", "blue", "5000", "5001").Replace(read("blue"))
	if green != read("green") {
		t.Errorf("the unit of green is not that of blue, want it to be:\n%s", green)
	}
}
