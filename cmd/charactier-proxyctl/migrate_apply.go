package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher/control"
)

// webServer is what a transaction needs of nginx.
type webServer interface {
	// Test says whether nginx likes its files.
	Test(ctx context.Context) error
	// Reload makes nginx read them and returns once it has.
	Reload(ctx context.Context) error
	// Check looks whether requests go where the files say.
	Check(ctx context.Context) error
}

// errNotTaken: a reload was asked for, and its effect is not to be seen.
var errNotTaken = errors.New("nginx did not take the change")

// uninterrupted is a context that a signal ends. From the first changed byte on
// a signal does not end the process but the step, and that means: put it back.
func uninterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

// transaction changes files and makes nginx work by them, or leaves both as
// they were. Killed between any two steps it leaves a record from which the
// next run goes on:
//
//	backups and record saved   nothing has changed
//	files replaced             nginx works by the old ones until somebody reloads it
//	nginx -t, reload           nginx works by the old ones or the new ones
//	record closed              done
type transaction struct {
	store  *migrateStore
	server webServer
	note   func(format string, args ...any)
}

func (t *transaction) run(ctx context.Context, kind string, changes []change) (*migrationRecord, error) {
	files := changed(changes)
	record, err := t.store.begin(kind, files, changes)
	if err != nil {
		return nil, err
	}
	if err := t.write(ctx, files); err != nil {
		return record, t.back(record, err)
	}
	return record, t.load(ctx, record)
}

// write replaces the files, unless somebody else changed one meanwhile.
func (t *transaction) write(ctx context.Context, files []edited) error {
	for _, f := range files {
		now, err := readNginxFile(f.file.path)
		switch {
		case err != nil:
			return err
		case string(now.src) != string(f.file.src) || now.real != f.file.real:
			return fmt.Errorf("%s changed while this ran", f.file.path)
		case ctx.Err() != nil:
			return errors.New("interrupted")
		}
		if err := replaceFile(f.file.real, f.after); err != nil {
			return err
		}
	}
	return nil
}

// load tests and reloads, and closes the record.
func (t *transaction) load(ctx context.Context, record *migrationRecord) error {
	if err := t.server.Test(ctx); err != nil {
		return t.back(record, fmt.Errorf("nginx does not take the change: %w", err))
	}
	t.note("nginx takes the change; reloading it")
	err := t.server.Reload(ctx)
	if err == nil {
		err = t.server.Check(ctx)
	}
	if err != nil {
		return t.reloadBack(record, err)
	}
	return t.store.save(record, phaseDone)
}

// back puts the files back; nginx was not reloaded.
func (t *transaction) back(record *migrationRecord, cause error) error {
	_, err := record.restore()
	if err == nil {
		err = t.store.save(record, phaseRestored)
	}
	if err != nil {
		return unrestored(cause, err)
	}
	return migrateError{error: cause, code: "failed", exit: control.ExitFailed, traffic: "nginx works by its files of before, which were put back"}
}

// reloadBack puts the files back and makes nginx work by them. It is done
// although the caller may have been interrupted.
func (t *transaction) reloadBack(record *migrationRecord, cause error) error {
	ctx := context.Background()
	_, err := record.restore()
	if err == nil {
		err = t.server.Test(ctx)
	}
	if err == nil {
		err = t.server.Reload(ctx)
	}
	switch {
	case errors.Is(err, errNotTaken) && errors.Is(cause, errNotTaken): // it never moved
	case err != nil:
		return unrestored(cause, err)
	}
	if err := t.store.save(record, phaseRestored); err != nil {
		return unrestored(cause, err)
	}
	return migrateError{
		error: cause, code: "undone", exit: control.ExitUndone, hint: "nginx's error log says more",
		traffic: "nginx works by its files of before, which were put back",
	}
}

// unrestored is the worst that can happen: it says what is left to do by hand.
func unrestored(cause, err error) error {
	return migrateError{
		error: fmt.Errorf("%w; and then: %w", cause, err), code: "failed", exit: control.ExitFailed,
		traffic: "nginx works by what it last took; its files may differ", hint: "run the same command again, or copy the backup and reload nginx",
	}
}

// carryOut shows the changes, asks, and makes them.
func (m *migration) carryOut(ctx context.Context, files []*nginxFile, places []place, changes []change) error {
	unfinished := m.found()
	if len(changes) == 0 {
		return m.settle(ctx, files, places, unfinished)
	}
	m.showChanges(changes)
	if m.f.dryRun {
		m.result.Outcome = "planned"
		m.say("dry run: nothing was changed\n")
		return nil
	}
	server, err := m.newServer(ctx, files, places)
	if err != nil {
		return err
	}
	if err := m.confirm(m.f.yes, "this changes nginx's configuration and reloads it once"); err != nil {
		return err
	}
	if err := m.follow(ctx); err != nil {
		return err
	}
	ctx, stop := uninterrupted(ctx)
	defer stop()
	t := &transaction{m.store, server, m.notef}
	record, err := t.run(ctx, m.kind(), changes)
	if err != nil {
		return err
	}
	for i := range m.result.Files {
		m.result.Files[i].Backup = record.backup(realOf(changes, m.result.Files[i].File))
	}
	m.result.Outcome = "done"
	m.afterMigration(server)
	if m.f.undo {
		m.checkUndone(ctx, changes)
	}
	return nil
}

func realOf(changes []change, path string) string {
	for _, c := range changes {
		if c.file.path == path {
			return c.file.real
		}
	}
	return path
}

func (m *migration) kind() string {
	if m.f.undo {
		return kindUndo
	}
	return kindMigrate
}

// found tells of an earlier run that did not end.
func (m *migration) found() *migrationRecord {
	record, err := m.store.unfinished()
	if err != nil {
		m.notef("whether an earlier migration ended is not known: %v", err)
	}
	if record == nil {
		return nil
	}
	state := "it had not changed all that it was to"
	if record.holds() {
		state = "it had changed its files, and nginx was not seen to take them"
	}
	m.notef("an earlier %s, of %s, did not end: %s", clean(record.Kind), clock(record.Started), state)
	return record
}

// settle deals with files that need no change: there is nothing to do, unless
// nginx does not work by them.
func (m *migration) settle(ctx context.Context, files []*nginxFile, places []place, unfinished *migrationRecord) error {
	server, err := m.newServer(ctx, files, places)
	if errors.Is(err, nginx.ErrNotRunning) && unfinished == nil {
		return m.nothingToDo() // it will read them when it starts
	}
	if err != nil {
		return err
	}
	if unfinished == nil {
		err := server.routes.check(ctx, settleTime)
		if err == nil {
			return m.nothingToDo()
		}
		m.notef("the files are as they should be, but %s", clean(err.Error()))
	}
	if m.f.dryRun {
		m.result.Outcome = "planned"
		m.say("dry run: nginx would be reloaded\n")
		return nil
	}
	if err := m.confirm(m.f.yes, "this reloads nginx once"); err != nil {
		return err
	}
	return m.resume(ctx, server, unfinished)
}

// resume ends what an earlier run, or somebody with an editor, began.
func (m *migration) resume(ctx context.Context, server *nginxServer, unfinished *migrationRecord) error {
	ctx, stop := uninterrupted(ctx)
	defer stop()
	var err error
	if unfinished != nil && unfinished.holds() {
		t := &transaction{m.store, server, m.notef}
		err = t.load(ctx, unfinished)
	} else {
		err = m.reloadOnly(ctx, server, unfinished)
	}
	if err != nil {
		return err
	}
	m.result.Outcome = "done"
	m.afterMigration(server)
	return nil
}

// reloadOnly has nothing to put back if it fails.
func (m *migration) reloadOnly(ctx context.Context, server *nginxServer, unfinished *migrationRecord) error {
	if err := server.Reload(ctx); err != nil {
		return err
	}
	if err := server.Check(ctx); err != nil {
		return migrateError{
			error: err, code: "failed", exit: control.ExitFailed, hint: "nginx's error log says more",
			traffic: "nginx works by what it last took; its files were not changed now",
		}
	}
	if unfinished == nil {
		return nil
	}
	return m.store.save(unfinished, phaseDone)
}

func (m *migration) nothingToDo() error {
	m.result.Outcome = "unchanged"
	var parts []string
	for _, u := range m.result.Upstreams {
		parts = append(parts, fmt.Sprintf("%s names %s", clean(u.Name), u.Server))
	}
	if m.f.undo {
		m.say("nothing to undo: no upstream names the daemon\n")
		return nil
	}
	m.say("nothing to do: %s already\n", strings.Join(parts, ", "))
	return nil
}

// recover puts back what an earlier run left that nginx does not take.
func (m *migration) recover() bool {
	record, err := m.store.unfinished()
	if err != nil {
		m.warn("%v", err)
	}
	if record == nil {
		return false
	}
	restored, err := record.restore()
	if err == nil && restored {
		err = m.store.save(record, phaseRestored)
	}
	if err != nil {
		m.warn("%v", err)
	}
	if restored {
		m.notef("an earlier %s, of %s, left what nginx does not take: its backup was put back", record.Kind, clock(record.Started))
	}
	return restored
}
