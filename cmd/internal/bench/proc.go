package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc, fixed for programs whatever the kernel
// uses itself.
const tick = 10 * time.Millisecond

// procStat is what we need of /proc/PID/stat.
type procStat struct {
	pid, parent int
	cpu         time.Duration // in user and kernel mode, of all its threads
}

// parseStat reads /proc/PID/stat. The command's name may hold anything, so
// fields are counted from the last parenthesis.
func parseStat(text string) (procStat, error) {
	left, right := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if left < 0 || right < left {
		return procStat{}, fmt.Errorf("reading %q: no command", text)
	}
	fields := strings.Fields(text[right+1:])
	if len(fields) < 13 {
		return procStat{}, fmt.Errorf("reading %q: too few fields", text)
	}
	var numbers [4]int
	for i, field := range []string{strings.TrimSpace(text[:left]), fields[1], fields[11], fields[12]} {
		n, err := strconv.Atoi(field)
		if err != nil {
			return procStat{}, fmt.Errorf("reading %q: %w", text, err)
		}
		numbers[i] = n
	}
	return procStat{numbers[0], numbers[1], time.Duration(numbers[2]+numbers[3]) * tick}, nil
}

// family are the process and all its descendants.
func family(pid int) ([]procStat, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]procStat{}
	var members []procStat
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		stat, err := parseStat(string(text))
		if err != nil {
			return nil, err
		}
		children[stat.parent] = append(children[stat.parent], stat)
		if stat.pid == pid {
			members = append(members, stat)
		}
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("process %d has ended", pid)
	}
	for i := 0; i < len(members); i++ {
		members = append(members, children[members[i].pid]...)
	}
	return members, nil
}

// cpuOf is the processor time of a process and its descendants.
func cpuOf(pid int) (time.Duration, error) {
	members, err := family(pid)
	var sum time.Duration
	for _, m := range members {
		sum += m.cpu
	}
	return sum, err
}

// memory is how much is resident, in KiB: with everything that is shared, and
// with the process's part of it.
type memory struct{ rss, pss int64 }

func memoryOf(pid int) (memory, error) {
	members, err := family(pid)
	if err != nil {
		return memory{}, err
	}
	var sum memory
	for _, m := range members {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", m.pid))
		if err != nil {
			return memory{}, err
		}
		one, err := parseRollup(text)
		if err != nil {
			return memory{}, err
		}
		sum.rss, sum.pss = sum.rss+one.rss, sum.pss+one.pss
	}
	return sum, nil
}

// parseRollup reads /proc/PID/smaps_rollup.
func parseRollup(text []byte) (memory, error) {
	found := map[string]int64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var n int64
		name, value, _ := strings.Cut(lines.Text(), ":")
		if _, err := fmt.Sscanf(value, "%d kB", &n); err == nil {
			found[name] = n
		}
	}
	rss, pss := found["Rss"], found["Pss"]
	if rss == 0 || pss == 0 {
		return memory{}, fmt.Errorf("reading %.80q: no Rss and Pss", text)
	}
	return memory{rss, pss}, nil
}

// busy is the time that all processors together have worked, or were taken away
// by the machine's host.
func busy() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(string(text))
}

// parseBusy reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq, steal.
func parseBusy(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("reading %.80q: not the line of all processors", line)
	}
	var sum time.Duration
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, fmt.Errorf("reading %.80q: %w", line, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
