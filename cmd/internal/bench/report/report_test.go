package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/bench/report"
)

var update = flag.Bool("update", false, "write the expected files anew")

// golden compares with the file, or writes it.
func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var got bytes.Buffer
	if err := write(&got); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update)", err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s differs (-want +got); if that is meant, run with -update:\n%s", path, diff)
	}
}

// sample is a report of three rounds. nginx is slow in the second, and HAProxy
// lacks the third.
func sample() *report.Report {
	r := &report.Report{
		Facts: []string{"a machine", "of two processors"},
		Cases: []report.Case{{Key: "get", Title: "GET & go"}, {Key: "idle", Title: "idle"}},
		Measures: []report.Measure{
			{Key: "rps", Title: "per second", HigherIsBetter: true, Pictured: true},
			{Key: "cpu", Title: "CPU per request", Unit: "µs", Pictured: true},
			{Key: "others", Title: "others", Alone: true},
		},
		Contenders: []report.Contender{
			{Name: "ours", Kind: report.Ours},
			{Name: "nginx", Kind: report.Rival},
			{Name: "HAProxy", Kind: report.Rival},
			{Name: "plain", Kind: report.Reference},
			{Name: "old", Kind: report.Ours},
			{Name: "old, calm", Kind: report.Reference, Of: "old"},
		},
	}
	add := func(c, measure, contender string, values ...float64) {
		for i, v := range values {
			r.Samples = append(r.Samples, report.Sample{Case: c, Measure: measure, Contender: contender, Round: i + 1, Value: v})
		}
	}
	add("get", "rps", "ours", 30000, 20000, 31000)
	add("get", "rps", "nginx", 30000, 16000, 40000)
	add("get", "rps", "HAProxy", 40000, 10000)
	add("get", "rps", "plain", 10000, 5000, 10000)
	add("get", "cpu", "ours", 10, 30, 11)
	add("get", "cpu", "nginx", 20, 60, 20)
	add("get", "cpu", "HAProxy", 5, 10)
	add("get", "others", "ours", 0.1, 0.2, 0.3)
	add("idle", "cpu", "ours", 8, 8, 9)
	add("idle", "cpu", "nginx", 0, 2, 2)
	add("idle", "cpu", "old", 8, 8, 8)
	add("idle", "cpu", "old, calm", 4, 4, 4)
	return r
}

func TestARatioIsMadeWithinARound(t *testing.T) {
	tests := []struct {
		c, measure, ours, against string
		want                      report.Spread
	}{
		// The medians alone, 11 and 20, would say 0.55.
		{"get", "cpu", "ours", "nginx", report.Spread{Median: 0.5, Min: 0.5, Max: 0.55, Rounds: 3}},
		{"get", "rps", "ours", "nginx", report.Spread{Median: 1, Min: 0.775, Max: 1.25, Rounds: 3}},
		// Two rounds: the median is their mean.
		{"get", "cpu", "ours", "HAProxy", report.Spread{Median: 2.5, Min: 2, Max: 3, Rounds: 2}},
		// The better has less CPU or more requests, and both rivals must be there.
		{"get", "cpu", "ours", report.TheBetter, report.Spread{Median: 2.5, Min: 2, Max: 3, Rounds: 2}},
		{"get", "rps", "ours", report.TheBetter, report.Spread{Median: 1, Min: 0.75, Max: 1.25, Rounds: 2}},
		// Nothing is divided by zero.
		{"idle", "cpu", "ours", "nginx", report.Spread{Median: 4.25, Min: 4, Max: 4.5, Rounds: 2}},
		{"idle", "cpu", "ours", "HAProxy", report.Spread{}},
		{"idle", "cpu", "ours", report.TheBetter, report.Spread{}},
		{"nothing", "cpu", "ours", "nginx", report.Spread{}},
	}
	r := sample()
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %s %s", test.c, test.measure, test.against), func(t *testing.T) {
			if diff := cmp.Diff(test.want, r.Ratio(test.c, test.measure, test.ours, test.against)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheTable(t *testing.T) { golden(t, "table.txt", sample().WriteTable) }

func TestThePicture(t *testing.T) {
	draw := func(w io.Writer) error { return sample().WritePicture(w, "ours") }
	golden(t, "picture.svg", draw)
	var picture bytes.Buffer
	if err := draw(&picture); err != nil {
		t.Fatal(err)
	}
	for dec := xml.NewDecoder(&picture); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}

func TestEverySampleAndRatioIsInTheCSV(t *testing.T) {
	r := sample()
	golden(t, "ratios.csv", r.WriteRatios)
	var out bytes.Buffer
	if err := r.WriteSamples(&out); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 1+len(r.Samples) {
		t.Fatalf("%d rows, want a head and %d samples: %v", len(rows), len(r.Samples), err)
	}
	if diff := cmp.Diff([]string{"get", "cpu", "µs", "nginx", "2", "60.0000"}, rows[1+11+4]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
