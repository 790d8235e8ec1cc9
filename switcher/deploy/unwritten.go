package deploy

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"charactier-proxy/switcher"
)

// write puts a line into the journal. Where it cannot be written, a return that
// keeps the links goes on without it, and says so once: it makes no files, and
// what has the traffic may be down, so that it is worth more than its journal.
func (d *deploy) write(e entry) error {
	if d.journal.gaps {
		return nil
	}
	err := d.journal.write(e)
	if err == nil || !d.request().keepsLinks() {
		return err
	}
	d.journal.gaps = true
	d.warn("", unwritten(err))
	return nil
}

// writeEnd is for the last line. Of a return that may have gaps the journal tells
// the end or nothing: whoever finds it unfinished would go on with what is done.
func (d *deploy) writeEnd(e entry) {
	err := d.journal.write(e)
	switch {
	case err == nil:
	case d.request().keepsLinks():
		if err := os.Remove(d.journal.file.Name()); err != nil {
			d.warn("", fmt.Errorf("removing a journal that tells half: %w", err))
		}
	default:
		// The deploy will be found unfinished, and looked through once more: that is all.
		d.warn("", err)
	}
}

// unwritten says what it means that a return leaves no journal.
func unwritten(err error) error {
	why := "the journal cannot be written"
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		why = "the disk is full"
	}
	return fmt.Errorf("%s: this rollback leaves no journal; if the command is killed, charactier-proxyctl status tells where traffic is (%w)", why, err)
}

// later is what to do about a deploy that was left, if its journal tells of it.
func (d *deploy) later(commands string) string {
	if d.journal.kept() {
		return commands
	}
	return hints("charactier-proxyctl status    # there is no journal to go on with", "charactier-proxyctl rollback  # once more, from where traffic is")
}

// keepsLinks: a return without a release named takes the standby slots as they
// are, each with its own release, or with what was there before there were any.
func (r Request) keepsLinks() bool {
	return r.Kind == switcher.KindRollback && r.Source.Release == ""
}
