package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

// listing is a machine with four releases: one active, one standby, one that was
// returned from and one that never got so far.
type listing struct{ root, config, socket string }

func newListing(t *testing.T) listing {
	t.Helper()
	dir := t.TempDir()
	l := listing{root: filepath.Join(dir, "charactier"), config: filepath.Join(dir, "config.yaml")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	store, err := deploy.OpenStore(deploy.StoreOptions{Root: l.root})
	must(err)
	for n := 1; n <= 4; n++ {
		name := releaseName(n)
		record := fmt.Sprintf(`{"name": %q, "revision": "%d%[2]d%[2]d%[2]d", "subject": "Number %[2]d", "sealed": true, "parts": {"backend": "backend"}}`, name, n)
		at := filepath.Join(l.root, "releases", name)
		must(errors.Join(os.MkdirAll(at+"/backend", 0o755), os.WriteFile(at+"/.release.json", []byte(record), 0o644)))
	}
	must(store.Mark(releaseName(4), "gate: green of backend was not healthy"))
	for slot, n := range map[string]int{"blue": 1, "green": 2} {
		must(os.Symlink(filepath.Join(l.root, "releases", releaseName(n), "backend"), filepath.Join(dir, slot)))
	}
	must(os.WriteFile(l.config, fmt.Appendf(nil, `deploy: {root: %s, log: "", repository: /srv/git/app.git}
services:
  backend:
    listen: [127.0.0.1:5080]
    slots:
      blue: {address: 127.0.0.1:5000, unit: b.service, link: %s/blue}
      green: {address: 127.0.0.1:5001, unit: g.service, link: %[2]s/green}
`, l.root, dir), 0o600))
	l.socket = startFake(t, fmt.Sprintf(`{"Status": {"services": [{"name": "backend", "active": "green",
		"bad_releases": [{"release": %q, "since": "2026-11-24T08:15:00Z", "reason": "500s at the login"}]}]}}`, releaseName(3)))
	return l
}

func releaseName(n int) string {
	return fmt.Sprintf("2026112%dT081500Z-%s", n, strings.Repeat(fmt.Sprint(n), 12))
}

// runs runs a command as somebody who is not root, and returns what it said.
func (l listing) runs(t *testing.T, socket string, args ...string) (code int, out, said string) {
	t.Helper()
	e, stdout, stderr := testEnv()
	e.uid = 1000
	code = run(t.Context(), e, append(args, "--config", l.config, "--socket", socket))
	return code, stdout.String(), stderr.String()
}

func TestTheListOfReleasesSaysWhatIsKnownOfEach(t *testing.T) {
	l := newListing(t)
	code, out, said := l.runs(t, l.socket, "deploy", "--list")
	marked := marked(t, l)
	want := releaseName(4) + `   Number 4
                                its gate failed at ` + clock(marked) + ` (gate: green of backend was not healthy)
` + releaseName(3) + `   Number 3
                                returned from at ` + clock(time.Date(2026, 11, 24, 8, 15, 0, 0, time.UTC)) + ` (500s at the login)
` + releaseName(2) + `   Number 2
                                active: green of backend
` + releaseName(1) + `   Number 1
                                standby: blue of backend
`
	if code != 0 || out != want {
		t.Errorf("exit code %d, said %q, got:\n%s\nwant:\n%s", code, said, out, want)
	}
}

// marked is when the newest release was found wanting.
func marked(t *testing.T, l listing) time.Time {
	t.Helper()
	code, out, said := l.runs(t, l.socket, "deploy", "--list", "--json")
	var all []listedRelease
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 4 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, said)
	}
	if all[0].Failed == nil || len(all[1].Returned) != 1 || all[2].Slots[0].Role != "active" || all[3].Slots[0].Role != "standby" {
		t.Errorf("the JSON says %s", out)
	}
	return all[0].Failed.At
}

func TestTheListIsThereWithoutTheDaemonToo(t *testing.T) {
	l := newListing(t)
	code, out, said := l.runs(t, filepath.Join(t.TempDir(), "none"), "deploy", "--list")
	if code != 0 || !strings.Contains(out, "green of backend") || strings.Contains(out, "active:") || !strings.Contains(said, "which slots are active, and what was returned from, is not known") {
		t.Errorf("exit code %d:\n%s%s", code, out, said)
	}
}

func TestOnlyReleasesThatNothingIsKnownAgainstAreOffered(t *testing.T) {
	l := newListing(t)
	for _, flag := range []string{"rollback --to", "deploy --release", "plan --release"} {
		args := append([]string{"__complete", "--config", l.config, "--socket", l.socket}, strings.Fields(flag)...)
		e, stdout, _ := testEnv()
		if code := run(t.Context(), e, append(args, "")); code != 0 {
			t.Errorf("%s: exit code %d", flag, code)
		}
		offered := strings.Split(strings.TrimSpace(stdout.String()), "\n")
		if !slices.Equal(offered, []string{releaseName(1) + "\tNumber 1", ":4"}) {
			t.Errorf("%s: offered %q", flag, offered)
		}
	}
}

func TestWhoOnlyLooksMakesNoDirectory(t *testing.T) {
	l := newListing(t)
	if err := os.Rename(l.root, l.root+".gone"); err != nil {
		t.Fatal(err)
	}
	code, out, said := l.runs(t, l.socket, "deploy", "--list")
	if code != 0 || !strings.Contains(out, "there is no release below "+l.root+" yet") {
		t.Errorf("--list: exit code %d:\n%s%s", code, out, said)
	}
	for _, args := range [][]string{{"plan"}, {"deploy", "--dry-run"}} {
		code, out, said := l.runs(t, filepath.Join(t.TempDir(), "none"), args...)
		if code != control.ExitUnreachable || !strings.Contains(said, "hint: systemctl status charactier-proxy\n") {
			t.Errorf("%s: exit code %d:\n%s%s", args, code, out, said)
		}
	}
	if _, err := os.Stat(l.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there: %v", l.root, err)
	}
}

func TestAnInvalidConfigurationIsShownAsConfigCheckShowsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte("services:\n  backend:\n    lisen: [127.0.0.1:5080]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func(args ...string) (int, string) {
		e, stdout, stderr := testEnv()
		code := run(t.Context(), e, append(args, "--config", path))
		return code, stdout.String() + stderr.String()
	}
	_, want := look("config", "check")
	if !strings.Contains(want, "\n") || !strings.Contains(want, "^") {
		t.Fatalf("config check says %q", want)
	}
	for _, args := range [][]string{{"deploy"}, {"deploy", "--list"}, {"plan"}, {"rollback", "--to", "x"}} {
		if code, said := look(args...); code != control.ExitUsage || said != want+"hint: charactier-proxyctl --config "+path+" config check\n" {
			t.Errorf("%v: exit code %d, said:\n%s\nwant:\n%s", args, code, said, want)
		}
	}
}
