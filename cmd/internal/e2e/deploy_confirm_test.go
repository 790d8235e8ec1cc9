package e2e

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"charactier-proxy/switcher"
)

// seat is a command on a terminal, with somebody before it.
type seat struct {
	*command
	keys io.WriteCloser
}

// sitDown starts the command on a terminal of its own, which script(1) makes:
// killing that takes the terminal away, as a lost connection does.
func (p *production) sitDown(args ...string) *seat {
	p.t.Helper()
	line := "stty rows 40 columns 100; NO_COLOR=1 exec charactier-proxyctl " + strings.Join(args, " ")
	c := p.prepare(args, []string{"script", "--quiet", "--flush", "--return", "--command", line, "/dev/null"})
	keys, err := c.cmd.StdinPipe()
	p.must(err)
	c.start()
	return &seat{c, keys}
}

// asked is a deploy that has come to its question.
func (p *production) asked(subject string) (s *seat, revision string) {
	p.t.Helper()
	revision = p.repo.commit(subject, good)
	s = p.sitDown("deploy", "--cut-streams", "--no-bake", "--confirm")
	s.awaitSays("keep it? [y/N]")
	return s, revision
}

func (s *seat) press(keys string) *command {
	s.t.Helper()
	if _, err := io.WriteString(s.keys, keys); err != nil {
		s.t.Error(err)
	}
	return s.await()
}

// leave takes the terminal away, and waits until the command has ended too.
func (p *production) leave(s *seat) {
	p.t.Helper()
	look := []string{"pgrep", "--full", "^charactier-proxyctl deploy"}
	p.Run(look...)
	s.signal(syscall.SIGKILL)
	s.await()
	p.Eventually("the command without a terminal ends", func() error {
		if out, err := p.Command(p.t.Context(), look...).Output(); err == nil {
			return errors.New("it still runs: " + string(out))
		}
		return nil
	})
}

// TestAPersonConfirmsADeploy asks on a real terminal.
func TestAPersonConfirmsADeploy(t *testing.T) {
	program(t, "script", "bsdutils")
	p := bootProduction(t, settings{backend: quick})
	p.users()
	defer p.table.print(t)
	p.deployed("a good one first", p.repo.commit("good", good))
	p.saysYes()
	p.saysNo("n\n", "a no")
	p.saysNo("\n", "just the return key")
	p.pressesCtrlC()
	p.losesTheTerminal()
	p.abortsElsewhere()
	t.Log(p.usersLeave().Summary())
}

// saysYes lets others look on and try in vain while the question is open.
func (p *production) saysYes() {
	p.try("--confirm: a yes", 0, func() *command {
		s, revision := p.asked("to be kept")
		if _, got, err := p.whoAnswers(); err != nil || got != revision {
			p.t.Errorf("while the question is open %s answers, %v; want %s", got, err, revision)
		}
		p.ctl("status").wants(0, "deploy", "by root")
		p.ctl("rollback").wants(4, "by root")
		p.ctl("deploy").wants(4, "by root")
		c := s.press("y\n").wants(0, "to return: ")
		p.moved(revision)
		return c
	})
	p.ends(switcher.KindDeploy, switcher.Done)
}

func (p *production) saysNo(keys, name string) {
	p.try("--confirm: "+name, 6, func() *command {
		s, _ := p.asked("not to be kept: " + name)
		return s.press(keys).wants(6, "it was not confirmed", "and is back on "+string(p.active))
	})
	p.ends(switcher.KindDeploy, switcher.Returned)
}

// pressesCtrlC answers nothing.
func (p *production) pressesCtrlC() {
	p.try("--confirm: Ctrl-C, then --resume", 0, func() *command {
		s, revision := p.asked("interrupted")
		s.press("\x03").wants(130, "charactier-proxyctl deploy --resume", "backend is on "+string(p.active.Other()))
		p.ctl("deploy", "--cut-streams", "--no-bake").wants(130, "waits to be confirmed") // that was no yes
		c := p.ctl("deploy", "--resume").wants(0)
		p.moved(revision)
		return c
	})
	p.try("--confirm: Ctrl-C, then abort", 0, func() *command {
		s, _ := p.asked("interrupted and not wanted")
		s.press("\x03").wants(130)
		return p.ctl("abort").wants(0, "undone")
	})
	p.ends(switcher.KindDeploy, switcher.Returned)
}

// losesTheTerminal is what a broken ssh does. Whoever comes next is told.
func (p *production) losesTheTerminal() {
	p.try("--confirm: the terminal is lost, then --resume", 0, func() *command {
		s, revision := p.asked("left alone")
		p.leave(s)
		p.leftAlone(revision)
		c := p.ctl("deploy", "--resume").wants(0)
		p.moved(revision)
		return c
	})
	p.try("--confirm: the terminal is lost, then a yes on another", 0, func() *command {
		s, revision := p.asked("left alone once more")
		p.leave(s)
		again := p.sitDown("deploy", "--cut-streams", "--no-bake")
		again.awaitSays("keep it? [y/N]") // the one that was left
		again.press("y\n").wants(0, "so it was finished")
		p.moved(revision)
		return again.command
	})
	p.try("--confirm: the terminal is lost, then abort", 0, func() *command {
		s, _ := p.asked("left alone and not wanted")
		p.leave(s)
		return p.ctl("abort").wants(0, "undone")
	})
	p.ends(switcher.KindDeploy, switcher.Returned)
}

// leftAlone checks that the new release has the traffic, and that status says
// what may be done about it.
func (p *production) leftAlone(revision string) {
	p.t.Helper()
	if _, got, err := p.whoAnswers(); err != nil || got != revision {
		p.t.Errorf("with nobody there %s answers, %v; want %s", got, err, revision)
	}
	p.Eventually("status tells of the deploy", func() error {
		said := strings.Join(strings.Fields(p.ctl("status").wants(0).said()), " ")
		for _, text := range []string{"ended in confirm", "neither finished nor undone", "deploy --resume", "abort"} {
			if !strings.Contains(said, text) {
				return errors.New(said)
			}
		}
		return nil
	})
}

// abortsElsewhere ends the question, with nobody at it.
func (p *production) abortsElsewhere() {
	p.try("--confirm: abort from another session", 6, func() *command {
		s, _ := p.asked("aborted from elsewhere")
		p.ctl("abort").wants(0)
		return s.await().wants(6, "aborted", "by root")
	})
	p.ends(switcher.KindDeploy, switcher.Returned)
}
