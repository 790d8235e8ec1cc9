package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"charactier-proxy/switcher"
)

const (
	blueServes  = "# Blue-Green\nupstream backend {\n    # Blue (BLUEPORT)\n    server BLUE;\n    # Green (GREENPORT)\n    # server GREEN;\n\n    keepalive 32;\n}\n"
	blueMoved   = "# Blue-Green\nupstream backend {\n    # Blue (BLUEPORT)\n    server OURS;\n    # Green (GREENPORT)\n    # server GREEN;\n\n    keepalive 32;\n}\n"
	greenServes = "upstream backend {\r\n\t#server BLUE; # blue: off\r\n\tserver localhost:GREENPORT weight=1;\t# green: on\r\n}\r\n"
	greenMoved  = "upstream backend {\r\n\t#server BLUE; # blue: off\r\n\tserver OURS;\t# green: on\r\n\tkeepalive 32;\r\n}\r\n"
)

func TestMigrateThereAndBack(t *testing.T) {
	g := startGuide(t, blueServes)
	g.answersFrom("blue", false)
	g.migrates(0, []string{"-    server BLUE;", "+    server OURS;", "dry run: nothing was changed"}, "--dry-run")
	g.holds(blueServes)
	if _, err := os.Stat(filepath.Join(g.d.dir, "state-migrate")); err == nil {
		t.Error("a dry run has made a directory")
	}

	said := g.migrates(0, []string{"nginx sends backend to OURS now", "to undo: ", "migrate --undo"})
	g.holds(blueMoved)
	g.answersFrom("blue", true)
	if info, err := os.Stat(g.upstream); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode is %v, %v; want that of before", info.Mode(), err)
	}
	_, backup, _ := strings.Cut(said, "backup: ")
	backup, _, _ = strings.Cut(backup, "\n")
	if text, err := os.ReadFile(backup); err != nil || string(text) != g.named(blueServes) {
		t.Errorf("the backup %s holds %q, %v", backup, text, err)
	}
	g.migrates(0, []string{"nothing to do: backend names OURS already"})
	g.holds(blueMoved)

	g.migrates(0, []string{"nginx sends backend to BLUE now"}, "--undo")
	g.holds(blueServes)
	g.answersFrom("blue", false)
	g.migrates(0, []string{"nothing to undo"}, "--undo")
	g.holds(blueServes)
}

func TestMigrateUndoNamesTheSlotThatIsActiveNow(t *testing.T) {
	g := startGuide(t, blueServes)
	g.migrates(0, nil)
	g.d.switchTo(switcher.Green, -1)
	g.answersFrom("green", true)
	g.migrates(0, []string{"nginx sends backend to GREEN now"}, "--undo")
	g.holds("# Blue-Green\nupstream backend {\n    # Blue (BLUEPORT)\n    server GREEN;\n    # Green (GREENPORT)\n    # server BLUE;\n\n    keepalive 32;\n}\n")
	g.answersFrom("green", false)
	g.migrates(0, nil)
	g.answersFrom("green", true)
}

func TestMigrateUndoWithoutTheDaemon(t *testing.T) {
	g := startGuide(t, blueServes)
	g.migrates(0, nil)
	g.d.switchTo(switcher.Green, -1)
	g.d.kill()
	g.migrates(5, nil)
	g.migrates(0, []string{"says that backend is on green", "nginx sends backend to GREEN now"}, "--undo")
	if slot, err := g.ask(); slot != "green" || err != nil {
		t.Errorf("answered by %q, %v; want green", slot, err)
	}
}

func TestMigrateFollowsNginxOnlyWhenTold(t *testing.T) {
	g := startGuide(t, greenServes)
	g.answersFrom("green", false)
	g.migrates(1, []string{"nginx sends backend to green, but the daemon would send it to blue", "switch green --service backend"})
	g.holds(greenServes)
	g.migrates(0, []string{"the daemon has to be switched first"}, "--adopt", "--dry-run")
	if got := g.d.status().Active; got != switcher.Blue {
		t.Errorf("a dry run has switched the daemon to %s", got)
	}
	g.migrates(0, nil, "--adopt")
	g.holds(greenMoved)
	if got := g.d.status().Active; got != switcher.Green {
		t.Errorf("the daemon is on %s", got)
	}
	g.answersFrom("green", true)
	g.migrates(0, nil, "--undo")
	g.holds(greenServes)
	g.answersFrom("green", false)
}

func TestMigrateRefusesWhatItCannotJudge(t *testing.T) {
	g := startGuide(t, blueServes)
	for name, c := range map[string]struct {
		upstream string
		code     int
		says     string
	}{
		"both slots serve":     {"upstream backend { server BLUE; server localhost:GREENPORT; }", 1, "upstream backend sends requests to both slots of backend at once"},
		"us and a slot":        {"upstream backend { server OURS; server GREEN; }", 1, "both to the daemon and past it"},
		"a stranger among us":  {"upstream backend { server BLUE; server 127.0.0.1:1 down; }", 1, "also names 127.0.0.1:1"},
		"no upstream of ours":  {"upstream backend { server 127.0.0.1:1; }", 2, "no upstream that nginx reads leads to backend"},
		"nginx does not parse": {"upstream backend { server BLUE; kepalive 3; }", 1, `unknown directive "kepalive"`},
	} {
		g.write(c.upstream)
		g.migrates(c.code, []string{c.says})
		if got := g.read(); got != g.named(c.upstream) {
			t.Errorf("%s: the file was changed to %q", name, got)
		}
	}
}

func TestMigrateRefusesWhileOurDoorDoesNotAnswer(t *testing.T) {
	g := startGuide(t, blueServes)
	g.blue.setHealthy(false)
	g.migrates(3, []string{"asking backend through the daemon: GET /api/v1/health: 503"})
	g.holds(blueServes)
}

// nginx refuses the change itself: here because something else is broken by
// the time that it is asked.
func TestMigratePutsBackWhatNginxDoesNotTake(t *testing.T) {
	g := startGuide(t, blueServes)
	g.wrap(`case "$*" in "-t "*) echo 'nginx: [emerg] no room' >&2; exit 1;; esac`)
	g.migrates(1, []string{"nginx: [emerg] no room", "traffic: nginx works by its files of before"})
	g.holds(blueServes)
	g.answersFrom("blue", false)
	g.unwrap()
	g.migrates(0, nil)
	g.answersFrom("blue", true)
}

func TestMigratePutsBackWhatNginxDoesNotLoad(t *testing.T) {
	g := startGuide(t, blueServes)
	g.wrap(`case "$*" in "-s reload"*) exit 0;; esac`)
	g.migrates(6, []string{"started no new workers", "traffic: nginx works by its files of before"})
	g.holds(blueServes)
	g.answersFrom("blue", false)
}

// A request that nginx answers from elsewhere: it works by other files than
// those that were changed.
func TestMigrateReturnsWhenRequestsDoNotArrive(t *testing.T) {
	g := startGuide(t, blueServes)
	site := filepath.Join(g.dir, "sites-available/site.conf")
	text, err := os.ReadFile(site)
	g.must(err)
	g.wrap(`case "$*" in "-s reload"*) sed -i 's|proxy_pass http://backend;|return 200;|' ` + site + `;; esac`)
	g.migrates(6, []string{"not by way of the daemon"})
	g.holds(blueServes)
	g.must(os.WriteFile(site, text, 0o644))
}

// Killed at any step, a run leaves what the next one understands.
func TestMigrateKilledAtAnyStep(t *testing.T) {
	for _, c := range []struct{ name, script, says string }{
		{"before nginx -t", `case "$*" in "-t "*) kill -9 $PPID;; esac`, "did not end: it had changed its files"},
		{"before the reload", `case "$*" in "-s reload"*) kill -9 $PPID; exit 0;; esac`, "did not end: it had changed its files"},
		{"after the reload", `case "$*" in "-s reload"*) "$real" "$@"; kill -9 $PPID; exit 0;; esac`, "did not end: it had changed its files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := startGuide(t, greenServes)
			g.d.switchTo(switcher.Green, -1)
			g.wrap(c.script)
			g.migrates(-1, nil)
			g.unwrap()
			g.migrates(0, []string{c.says, "nginx would be reloaded"}, "--dry-run")
			g.migrates(0, []string{c.says, "nginx sends backend to OURS now"})
			g.holds(greenMoved)
			g.answersFrom("green", true)
			g.migrates(0, []string{"nothing to do"})

			g.wrap(c.script)
			g.migrates(-1, nil, "--undo")
			g.unwrap()
			g.migrates(0, []string{c.says}, "--undo")
			g.holds(greenServes)
			g.answersFrom("green", false)
		})
	}
}

// Killed when nginx has found the change bad, and before it is put back.
func TestMigrateMendsWhatAKilledRunLeft(t *testing.T) {
	g := startGuide(t, blueServes)
	g.wrap(`case "$*" in "-t "*) kill -9 $PPID;; esac`)
	g.migrates(-1, nil)
	g.holds(blueMoved)
	// From now on nginx refuses a file that names us.
	g.wrap(`if grep -q ` + g.d.addr + ` ` + g.upstream + `; then echo 'nginx: [emerg] no' >&2; exit 1; fi`)
	g.migrates(1, []string{"left what nginx does not take: its backup was put back", "nginx does not take the change"})
	g.holds(blueServes)
	g.answersFrom("blue", false)
}

func TestMigrateUndoKeepsWhatOthersChanged(t *testing.T) {
	g := startGuide(t, blueServes)
	g.migrates(0, nil)
	g.write("# a note\n" + blueMoved)
	g.migrates(0, nil, "--undo")
	g.holds("# a note\n" + blueServes)

	g.migrates(0, nil)
	edited := strings.Replace(blueMoved, "keepalive 32", "keepalive 64", 1)
	g.write(edited)
	g.migrates(1, []string{"-    keepalive 32;", "+    keepalive 64;", "somebody changed upstream backend since"}, "--undo")
	g.holds(edited)
	g.migrates(0, nil, "--undo", "--force")
	g.holds(blueServes)
	g.answersFrom("blue", false)
}

// Somebody followed the README by hand: there is no backup.
func TestMigrateUndoWithoutABackup(t *testing.T) {
	g := startGuide(t, blueMoved)
	g.answersFrom("blue", true)
	g.migrates(0, []string{"there is no backup", "nginx sends backend to BLUE now"}, "--undo")
	g.holds(blueServes)
	g.answersFrom("blue", false)
	// And somebody edited by hand and forgot to reload.
	g.write(blueMoved)
	g.migrates(0, []string{"the files are as they should be, but nginx did not take the change"})
	g.answersFrom("blue", true)
}

func TestMigrateFollowsLinksAndTellsOfBypasses(t *testing.T) {
	g := startGuide(t, blueServes)
	real := filepath.Join(g.dir, "elsewhere")
	g.must(os.Rename(g.upstream, real))
	g.must(os.Symlink(real, g.upstream))
	stdout, _, code := g.migrate("--json", "--upstream", g.upstream)
	var result struct {
		Outcome  string
		Files    []struct{ File, Backup, Diff string }
		Bypasses []struct {
			File, Text string
			Line       int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &result); err != nil || code != 0 {
		t.Fatalf("code %d, %v:\n%s", code, err, stdout)
	}
	if result.Outcome != "done" || len(result.Files) != 1 || result.Files[0].Backup == "" {
		t.Errorf("the result is %+v", result)
	}
	// The site's last location is for the frontend, which is blue here.
	if len(result.Bypasses) != 1 || result.Bypasses[0].Text != "proxy_pass http://"+g.blue.addr || result.Bypasses[0].Line < 40 {
		t.Errorf("the bypasses are %+v", result.Bypasses)
	}
	if target, err := os.Readlink(g.upstream); err != nil || target != real {
		t.Errorf("the link leads to %q, %v", target, err)
	}
	g.holds(blueMoved)
	g.answersFrom("blue", true)
	g.migrates(0, []string{"goes past the daemon: use OURS"}, "--sites")
}

// At a reload nginx closes kept connections also when a request is under way on
// them; that is nginx's. So each client takes a new connection each time, and
// of these none may be lost.
func TestMigrateUnderLoad(t *testing.T) {
	g := startGuide(t, blueServes)
	c := g.customers(8)
	for range 5 {
		c.awaitMore(100)
		g.migrates(0, nil)
		c.awaitMore(100)
		g.d.switchTo(switcher.Green, -1)
		g.d.switchTo(switcher.Blue, -1)
		c.awaitMore(100)
		g.migrates(0, nil, "--undo")
	}
	c.awaitMore(100)
	sent, failed := c.leave()
	t.Logf("5 migrations there and back, 10 reloads of nginx: %d orders sent, %d failed", sent, len(failed))
	if len(failed) > 0 {
		t.Errorf("%d of %d orders failed:\n%s", len(failed), sent, first(failed, 10))
	}
	executed := orders(t, c.run, g.blue, g.green)
	for id, n := range executed {
		if n > 1 {
			t.Errorf("order %s was executed %d times", id, n)
		}
	}
	if len(executed) != sent {
		t.Errorf("%d orders sent, %d executed", sent, len(executed))
	}
}
