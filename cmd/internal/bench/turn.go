package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"charactier-proxy/cmd/internal/bench/report"
)

// meter is processor time so far: the contender's, that of slots and bench, and
// the whole machine's.
type meter struct {
	at                     time.Time
	contender, known, busy time.Duration
}

// look reads the meters.
func (b *bench) look(in *instance) (m meter, err error) {
	if in.child != nil {
		if err := in.child.dead(); err != nil {
			return m, err
		}
		if m.contender, err = cpuOf(in.child.pid()); err != nil {
			return m, err
		}
	}
	slot, err1 := cpuOf(b.world.slot.child.pid())
	echo, err2 := cpuOf(b.world.echo.child.pid())
	own, err3 := ownTime()
	var err4 error
	m.busy, err4 = busy()
	m.at, m.known = time.Now(), m.contender+slot+echo+own
	return m, errors.Join(err1, err2, err3, err4)
}

// ownTime is this process's, without the programs it has started.
func ownTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, err
	}
	stat, err := parseStat(string(text))
	return stat.cpu, err
}

// since is the difference of two meters.
func (m meter) since(before meter) usage {
	return usage{m.at.Sub(before.at), m.contender - before.contender, m.known - before.known, m.busy - before.busy}
}

// usage is processor time within one turn.
type usage struct{ elapsed, contender, known, busy time.Duration }

// others is how many processors were busy with something that is none of ours.
func (u usage) others(load time.Duration) float64 {
	return max(float64(u.busy-u.known-load)/float64(u.elapsed), 0)
}

// note takes a turn into the report.
func (b *bench) note(c benchCase, e *entry, round int, o outcome, u usage) {
	values := c.values(o, u, e.in.child != nil)
	fmt.Fprintf(b.progress, "%-9s  round %d of %d  %-20s", c.Key, round, b.opts.rounds, e.Name)
	for _, m := range b.report.Measures {
		if value, ok := values[m.Key]; ok {
			sample := report.Sample{Case: c.Key, Measure: m.Key, Contender: e.Name, Round: round, Value: value}
			b.report.Samples = append(b.report.Samples, sample)
			fmt.Fprintf(b.progress, "  %s %s", m.Key, report.Figure(value))
		}
	}
	fmt.Fprintf(b.progress, "  failed %d\n", o.Failed)
	if err := o.Err(); err != nil {
		b.failed = append(b.failed, fmt.Errorf("case %s, %s, round %d: %d failed: %w\n%s", c.Key, e.Name, round, o.Failed, err, e.in.said()))
	}
}

// values are the measures of a turn.
func (c benchCase) values(o outcome, u usage, hasCPU bool) map[string]float64 {
	values := map[string]float64{"others": u.others(o.load)}
	defer maps.Copy(values, o.more) // which knows better
	if c.fresh {                    // the memory is what counts
		return values
	}
	// At a fixed rate the number says nothing of the contender.
	if !c.paced() {
		values["rps"] = float64(o.Sent) / o.Elapsed.Seconds()
	}
	if hasCPU && o.Sent > 0 {
		each := float64(u.contender) / float64(o.Sent)
		if c.size > 0 {
			values["cpu-kib"] = each / (float64(c.size) / 1024)
		} else {
			values["cpu"] = each / float64(time.Microsecond)
		}
	}
	if o.P99 > 0 {
		for key, d := range map[string]time.Duration{"p50": o.P50, "p99": o.P99, "p999": o.P999} {
			values[key] = float64(d) / float64(time.Microsecond)
		}
	}
	if o.Late > 0 {
		values["late"] = float64(o.Late) / float64(time.Microsecond)
	}
	return values
}

// said is the end of an instance's log.
func (in *instance) said() string {
	if in.child == nil {
		return ""
	}
	return in.child.tail()
}
