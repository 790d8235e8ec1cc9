package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	rounds  int
	time    time.Duration // of one run
	settle  time.Duration // before memory is looked at
	idle    int           // connections of the idle case
	rate    float64       // of the paced cases; 0: half of the slowest
	cores   int           // of each contender; 0: all, shared with load and slot
	cases   []string
	out     string
	program string // charactier-proxy
	builds  []build
}

// build is another build of ours that takes part, or the same one with other
// settings.
type build struct{ name, path, more string }

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var seconds float64
	var quick bool
	var cases string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rounds, "rounds", 5, "how often each contender has its turn in each case")
	flags.Float64Var(&seconds, "seconds", 5, "how long one turn is")
	flags.BoolVar(&quick, "quick", false, "two rounds of one second, 1,000 idle connections; rounds and seconds do not count")
	flags.StringVar(&cases, "cases", "", "only these `CASES`, with commas between; all of them: "+strings.Join(caseKeys(), ","))
	flags.IntVar(&o.cores, "cores", -1, "processors of each contender, the others being the load's and the slot's; 0: all are shared; -1: half of them")
	flags.Float64Var(&o.rate, "rate", 0, "requests per second of the paced cases; 0: half of what the slowest contender reached in the case get")
	flags.IntVar(&o.idle, "idle", 5000, "idle connections of the cases idle and crowd")
	flags.StringVar(&o.out, "out", "bench-out", "the directory for the results")
	flags.StringVar(&o.program, "program", "bin/charactier-proxy", "the `FILE` of charactier-proxy")
	flags.Func("also", "another build of charactier-proxy, as `NAME=FILE` or NAME=FILE,YAML with further lines of its configuration; may be repeated", o.addBuild)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.time, o.settle = time.Duration(seconds*float64(time.Second)), 5*time.Second
	if quick {
		o.rounds, o.time, o.settle, o.idle = 2, time.Second, time.Second, 1000
	}
	if cases != "" {
		o.cases = strings.Split(cases, ",")
	}
	return o, errors.Join(o.check(flags.Args()), o.resolve())
}

func (o *options) addBuild(value string) error {
	name, path, ok := strings.Cut(value, "=")
	if !ok || name == "" || path == "" {
		return errors.New("must be NAME=FILE")
	}
	path, more, _ := strings.Cut(path, ",")
	o.builds = append(o.builds, build{name, path, more})
	return nil
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.rounds < 1 || o.time < 100*time.Millisecond:
		return errors.New("at least one round of 0.1 seconds is needed")
	case o.idle < 1 || o.idle > 7000:
		return errors.New("-idle must be 1 to 7000: so many fit into 20,000 descriptors in every contender")
	}
	for _, key := range o.cases {
		if !slices.Contains(caseKeys(), key) {
			return fmt.Errorf("there is no case %q, only %s", key, strings.Join(caseKeys(), ", "))
		}
	}
	return nil
}

// resolve makes paths absolute: programs run elsewhere.
func (o *options) resolve() (err error) {
	if o.program, err = filepath.Abs(o.program); err != nil {
		return err
	}
	for i := range o.builds {
		if o.builds[i].path, err = filepath.Abs(o.builds[i].path); err != nil {
			return err
		}
	}
	return nil
}

func (o options) wants(key string) bool { return len(o.cases) == 0 || slices.Contains(o.cases, key) }
