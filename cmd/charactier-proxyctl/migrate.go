package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/cmd/internal/nginx"
	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

type migrateFlags struct {
	common
	undo, adopt, force, dryRun, sites bool
	upstream, nginx, conf             string
}

func newMigrateCmd(e *env) *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Point nginx at the daemon instead of at a slot, or back",
		Long: `The upstream of nginx that names a slot is made to name the daemon; all else in
its file stays byte for byte. The change is shown, backed up, tested by nginx
and loaded; then requests through nginx are seen to arrive. If any step fails,
the file is put back. Run again, it says what it finds and goes on from there.

--undo puts back what stood there, naming the slot that is active now; it also
works while the daemon does not.`,
		Example: `  charactier-proxyctl migrate --dry-run
  sudo charactier-proxyctl migrate
  sudo charactier-proxyctl migrate --undo`,
		Args: noArgs,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(); err != nil {
			return err
		}
		return e.migrate(cmd.Context(), &f)
	}
	f.register(e, cmd)
	return cmd
}

func (f *migrateFlags) register(e *env, cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringSliceVar(&f.services, "service", nil, serviceHelp)
	fs.BoolVar(&f.dryRun, "dry-run", false, "show what would change, and change nothing")
	fs.BoolVar(&f.adopt, "adopt", false, "first switch the daemon to the slot of nginx")
	fs.BoolVar(&f.undo, "undo", false, "point nginx at the active slot again")
	fs.BoolVar(&f.force, "force", false, "with --undo: even if somebody changed the upstream")
	fs.BoolVar(&f.sites, "sites", false, "only tell which directives go past the daemon")
	fs.StringVar(&f.upstream, "upstream", "", "only upstreams in `FILE` (default all that nginx reads)")
	fs.StringVar(&f.nginx, "nginx", "", "the `PROGRAM` nginx")
	fs.StringVar(&f.conf, "nginx-conf", "", "nginx's main `FILE`, if it is not its default")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	f.jsonFlag(cmd)
	completeServices(e, cmd)
}

func (f *migrateFlags) check() error {
	switch {
	case f.undo && f.adopt:
		return usagef("the daemon's active slot decides what --undo points nginx at", "--undo and --adopt contradict each other")
	case f.force && !f.undo:
		return usagef("", "--force is for --undo only")
	case f.sites && f.undo:
		return usagef("--sites changes nothing", "--sites and --undo contradict each other")
	}
	return nil
}

// migration is one run of the verb.
type migration struct {
	*env
	f       *migrateFlags
	program nginx.Program
	store   *migrateStore
	result  migrated

	cfg       *config.Config // once it was needed
	adoptions []adoption
}

// migrated is the JSON of migrate.
type migrated struct {
	Outcome   string           `json:"outcome"` // done, unchanged, planned, told
	Upstreams []migratedPlace  `json:"upstreams"`
	Files     []migratedFile   `json:"files"`
	Bypasses  []migratedBypass `json:"bypasses"`
	Warnings  []string         `json:"warnings"`
}

// migratedPlace is an upstream, and the address that it names in the end.
type migratedPlace struct {
	Service string `json:"service"`
	Name    string `json:"name"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Server  string `json:"server"`
}

// migratedFile is a file that changes.
type migratedFile struct {
	File   string `json:"file"`
	Backup string `json:"backup,omitempty"`
	Diff   string `json:"diff"`
}

// migratedBypass is a directive that sends requests past the daemon.
type migratedBypass struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

// migrateError is a migration that was not done.
type migrateError struct {
	error
	code, hint, traffic string
	exit                int
}

func (m migrateError) Hint() string  { return m.hint }
func (m migrateError) Unwrap() error { return m.error }

func (e *env) migrate(ctx context.Context, f *migrateFlags) error {
	path, err := nginx.Find(f.nginx)
	if err != nil {
		return usagef("name it with --nginx", "looking for nginx: %v", err)
	}
	m := &migration{
		env: e, f: f, program: nginx.Program{Path: path, Conf: f.conf},
		store:  &migrateStore{dir: e.paths().StateDir + "-migrate", uid: e.uid, now: e.now},
		result: migrated{Upstreams: []migratedPlace{}, Files: []migratedFile{}, Bypasses: []migratedBypass{}, Warnings: []string{}},
	}
	run := m.run
	if f.sites {
		run = m.tellSites
	}
	if err := run(ctx); err != nil {
		return m.failedMigration(err)
	}
	if f.json {
		return e.printJSON(m.result)
	}
	return nil
}

// failedMigration prints why it was not done and where the traffic is.
func (m *migration) failedMigration(err error) error {
	var silent exitError
	var usage usageError
	var failed migrateError
	switch {
	case errors.As(err, &silent), errors.As(err, &usage) && !m.f.json:
		return err
	case !errors.As(err, &failed):
		failed = migrateError{error: err, hint: control.HintOf(err), exit: control.ExitCode(err), code: control.AsError(err, switcher.Record{}).Code}
		if errors.As(err, &usage) {
			failed.code, failed.exit = "usage", control.ExitUsage
		}
	}
	m.report(plainError{err})
	if failed.traffic != "" {
		m.trafficf("%s", clean(failed.traffic))
	}
	if failed.hint != "" {
		m.hintf("%s", failed.hint)
	}
	if m.f.json {
		if err := m.printJSON(&control.Error{Code: failed.code, Message: err.Error(), Next: failed.hint}); err != nil {
			return err
		}
	}
	return exitError(failed.exit)
}

// run is the whole way, there or back.
func (m *migration) run(ctx context.Context) error {
	if !m.f.dryRun {
		unlock, err := m.store.lock()
		if err != nil {
			return err
		}
		defer unlock()
	}
	files, err := m.read(ctx)
	if err != nil {
		return err
	}
	services, err := m.services(ctx)
	if err != nil {
		return err
	}
	places, err := m.find(files, services)
	if err != nil {
		return err
	}
	plan := m.planMigrate
	if m.f.undo {
		plan = m.planUndo
	}
	changes, err := plan(ctx, places)
	if err != nil {
		return err
	}
	m.bypasses(files, services, places)
	return m.carryOut(ctx, files, places, changes)
}

// tellSites says which directives go past the daemon, and nothing more.
func (m *migration) tellSites(ctx context.Context) error {
	files, err := m.read(ctx)
	if err != nil {
		return err
	}
	services, err := m.services(ctx)
	if err != nil {
		return err
	}
	m.result.Outcome = "told"
	m.bypasses(files, services, nil)
	if len(m.result.Bypasses) == 0 && !m.f.json {
		m.printf("nothing in nginx's configuration goes past the daemon\n")
	}
	return nil
}
