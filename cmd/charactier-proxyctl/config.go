package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"charactier-proxy/cmd/internal/config"
	"charactier-proxy/switcher/control"
)

func newConfigCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check a configuration file",
		Args:  noUnknownVerb,
		RunE:  showHelp,

		DisableFlagsInUseLine: true,
	}
	cmd.AddCommand(newConfigCheckCmd(e))
	return cmd
}

// checked is the JSON of config check.
type checked struct {
	File     string          `json:"file"`
	Valid    bool            `json:"valid"`
	Problems []configProblem `json:"problems"`
}

// configProblem is one thing that is wrong with a file.
type configProblem struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
}

func newConfigCheckCmd(e *env) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether a file is valid, and all that is wrong with it",
		Long: `Without FILE the daemon's own is checked (--config). The daemon is not asked and
nothing is changed. The exit code is 0 if the file is valid and 2 if not.`,
		Example: `  charactier-proxyctl config check
  charactier-proxyctl config check ./new.yaml && sudo cp new.yaml /etc/charactier-proxy/config.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("", "config check takes one file, but got %d", len(args))
			}
			return nil
		},
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		file, named := e.paths().Config, e.paths().ConfigNamed
		if len(args) == 1 {
			file, named = args[0], true
		}
		return e.checkConfig(file, named, asJSON)
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (e *env) checkConfig(file string, named, asJSON bool) error {
	loaded, err := config.Load(file)
	if !named && errors.Is(err, fs.ErrNotExist) {
		loaded, err = config.Default(), nil
		if !asJSON {
			e.notef("there is no %s: the built-in configuration runs", file)
		}
	}
	problems := problemsOf(file, err)
	if asJSON {
		if err := e.printJSON(checked{File: file, Valid: err == nil, Problems: problems}); err != nil {
			return err
		}
	} else {
		e.printChecked(file, loaded, err, len(problems))
	}
	if err != nil {
		return exitError(control.ExitUsage)
	}
	return nil
}

func (e *env) printChecked(file string, loaded *config.Config, err error, problems int) {
	if err == nil {
		e.printf("%s is valid: %s\n", file, plural(len(loaded.Services), "service", "services"))
		return
	}
	var listed config.Problems
	if !errors.As(err, &listed) {
		e.notef("%s", clean(err.Error()))
		return
	}
	e.printf("%s\n", listed.Error())
	e.notef("%s", invalidText(file, problems))
}

func invalidText(file string, problems int) string {
	return fmt.Sprintf("%s is not valid: %s", file, plural(problems, "problem", "problems"))
}

// problemsOf lists what is wrong; a file that cannot be read is one problem.
func problemsOf(file string, err error) []configProblem {
	list := []configProblem{}
	var problems config.Problems
	switch {
	case err == nil:
	case errors.As(err, &problems):
		for _, p := range problems {
			list = append(list, configProblem{p.File, p.Line, p.Column, p.Key, p.Text})
		}
	default:
		list = append(list, configProblem{File: file, Text: err.Error()})
	}
	return list
}
