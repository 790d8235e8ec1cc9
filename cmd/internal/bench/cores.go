package main

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cores says which processors the contenders run on, and which the load and the
// slot. Kept apart, a contender saturates its own and nobody else's.
type cores struct{ contender, rest []int }

// layOut divides the processors that this process may use. want is the number
// for the contenders: zero means that all are shared, negative half of them.
func layOut(want int) (cores, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return cores{}, fmt.Errorf("looking for processors: %w", err)
	}
	var all []int
	for cpu := 0; len(all) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	return divide(all, want)
}

func divide(all []int, want int) (cores, error) {
	if want < 0 {
		want = len(all) / 2
	}
	switch {
	case want == 0:
		return cores{all, all}, nil
	case want >= len(all):
		return cores{}, fmt.Errorf("of %d processors %d cannot be the contenders' alone: something must be left for load and slot", len(all), want)
	}
	return cores{all[:want], all[want:]}, nil
}

func (c cores) shared() bool { return len(c.contender) == len(c.rest) && c.contender[0] == c.rest[0] }

func (c cores) String() string {
	if c.shared() {
		return fmt.Sprintf("processors %s shared by contender, load and slot", list(c.contender))
	}
	return fmt.Sprintf("processors: contender %s, load and slot %s", list(c.contender), list(c.rest))
}

// list writes numbers as taskset reads them.
func list(cpus []int) string {
	var words []string
	for _, cpu := range cpus {
		words = append(words, strconv.Itoa(cpu))
	}
	return strings.Join(words, ",")
}
