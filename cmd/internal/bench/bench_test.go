package main

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/bench/drive"
	"charactier-proxy/cmd/internal/bench/report"
)

func TestEachRoundBeginsWithAnother(t *testing.T) {
	want := [][]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}, {0, 1, 2}}
	for round, want := range want {
		if got := order(3, round); !slices.Equal(got, want) {
			t.Errorf("round %d has the order %v, want %v", round, got, want)
		}
	}
}

// newTestBench is a bench without a world.
func newTestBench() *bench { return newBench(nil, options{rounds: 1}, io.Discard) }

func TestATurnIsNotedByRequestAndByByte(t *testing.T) {
	o := outcome{
		Result: drive.Result{Sent: 1000, Elapsed: 2 * time.Second, P50: time.Millisecond, P99: 2 * time.Millisecond, P999: 3 * time.Millisecond},
		load:   300 * time.Millisecond,
	}
	u := usage{elapsed: 2 * time.Second, contender: 20 * time.Millisecond, known: 700 * time.Millisecond, busy: 3 * time.Second}
	small := map[string]float64{"rps": 500, "cpu": 20, "p50": 1000, "p99": 2000, "p999": 3000, "others": 1}
	large := map[string]float64{"rps": 500, "cpu-kib": 2000, "p50": 1000, "p99": 2000, "p999": 3000, "others": 1}
	if diff := cmp.Diff(small, benchCase{}.values(o, u, true)); diff != "" {
		t.Errorf("small (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(large, benchCase{size: 10 << 10}.values(o, u, true)); diff != "" {
		t.Errorf("large (-want +got):\n%s", diff)
	}
	delete(small, "cpu")
	if diff := cmp.Diff(small, benchCase{}.values(o, u, false)); diff != "" {
		t.Errorf("without a process (-want +got):\n%s", diff)
	}
}

func TestAFailedRequestFailsTheRunButNotBeforeItsEnd(t *testing.T) {
	b := newTestBench()
	c, e := benchCase{Case: report.Case{Key: "get"}}, &entry{in: &instance{}}
	e.Name = "nginx"
	b.note(c, e, 1, outcome{Result: drive.Result{Sent: 1, Elapsed: time.Second}}, usage{elapsed: time.Second})
	if err := b.faults(); err != nil {
		t.Fatalf("nothing failed, but: %v", err)
	}
	b.note(c, e, 2, outcome{Result: drive.Result{Sent: 1, Failed: 3, Fault: "answered 503", Elapsed: time.Second}}, usage{elapsed: time.Second})
	err := b.faults()
	if err == nil || !strings.Contains(err.Error(), "case get, nginx, round 2: 3 failed: answered 503") {
		t.Errorf("error %v", err)
	}
}

func TestABusyMachineIsToldOf(t *testing.T) {
	for others, want := range map[float64]string{0.02: "", 0.5: "NOISY: other programs kept 0.50 processors busy (0.00 to 0.50)"} {
		b := newTestBench()
		for i, value := range []float64{0, others, others} {
			b.report.Samples = append(b.report.Samples, report.Sample{Measure: "others", Round: i, Value: value})
		}
		b.warn()
		if got := strings.Join(b.report.Facts, "\n"); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("with %v busy: %q, want %q", others, got, want)
		}
	}
}

func TestThePacedCasesRunAtHalfOfTheSlowest(t *testing.T) {
	b := newTestBench()
	for name, rps := range map[string]float64{"ours": 31001, "nginx": 20001, "plain": 9000} {
		kind := report.Rival
		if name == "plain" {
			kind = report.Reference
		}
		b.report.Contenders = append(b.report.Contenders, report.Contender{Name: name, Kind: kind})
		b.report.Samples = append(b.report.Samples, report.Sample{Case: "get", Measure: "rps", Contender: name, Round: 1, Value: rps})
	}
	if got := b.halfOfTheSlowest(); got != 10000 {
		t.Errorf("rate %v, want 10000", got)
	}
}

func TestOnlyOursSwitches(t *testing.T) {
	all := contenders(options{builds: []build{{name: "old", path: "/old"}}})
	got := map[string][]string{}
	for _, c := range cases(options{}) {
		for _, e := range c.entries(all) {
			got[c.Key] = append(got[c.Key], e.Name)
		}
	}
	want := map[string][]string{
		"get":       {"charactier-proxy", "nginx", "HAProxy", "standard lane", "httputil", "no proxy", "old"},
		"post":      {"charactier-proxy", "nginx", "HAProxy", "standard lane", "old"},
		"switching": {"charactier-proxy", "charactier-proxy, not switching", "old", "old, not switching"},
	}
	for key, want := range want {
		if diff := cmp.Diff(want, got[key]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}

func TestProcessorsAreDividedOrShared(t *testing.T) {
	tests := []struct {
		all  []int
		want int
		got  string
	}{
		{[]int{0, 1}, -1, "processors: contender 0, load and slot 1"},
		{[]int{4, 5, 6, 7}, -1, "processors: contender 4,5, load and slot 6,7"},
		{[]int{4, 5, 6, 7}, 1, "processors: contender 4, load and slot 5,6,7"},
		{[]int{0, 1}, 0, "processors 0,1 shared by contender, load and slot"},
		{[]int{3}, -1, "processors 3 shared by contender, load and slot"},
	}
	for _, test := range tests {
		got, err := divide(test.all, test.want)
		if err != nil || got.String() != test.got {
			t.Errorf("%v by %d: %s, %v, want %s", test.all, test.want, got, err, test.got)
		}
	}
	if _, err := divide([]int{0, 1}, 2); err == nil {
		t.Error("nothing is left for load and slot, and that is no error")
	}
}
