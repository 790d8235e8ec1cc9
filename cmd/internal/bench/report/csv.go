package report

import (
	"encoding/csv"
	"io"
	"strconv"
)

// WriteSamples writes every measurement as CSV.
func (r *Report) WriteSamples(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"case", "measure", "unit", "contender", "round", "value"}}
	for _, s := range r.Samples {
		rows = append(rows, []string{s.Case, s.Measure, r.measure(s.Measure).Unit, s.Contender,
			strconv.Itoa(s.Round), decimal(s.Value)})
	}
	return out.WriteAll(rows)
}

// WriteRatios writes every ratio as CSV.
func (r *Report) WriteRatios(w io.Writer) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"case", "measure", "better", "ours", "against", "median", "min", "max", "rounds"}}
	for _, l := range r.lines() {
		better := "lower"
		if l.m.HigherIsBetter {
			better = "higher"
		}
		rows = append(rows, []string{l.c.Key, l.m.Key, better, l.ours, l.against,
			decimal(l.ratio.Median), decimal(l.ratio.Min), decimal(l.ratio.Max), strconv.Itoa(l.ratio.Rounds)})
	}
	return out.WriteAll(rows)
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }
