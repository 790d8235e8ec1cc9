package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteTable writes facts, ratios and medians for people.
func (r *Report) WriteTable(w io.Writer) error {
	for _, fact := range r.Facts {
		if _, err := fmt.Fprintln(w, fact); err != nil {
			return err
		}
	}
	if err := r.writeRatios(w); err != nil {
		return err
	}
	return r.writeMedians(w)
}

func (r *Report) writeRatios(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "\nRatios: median of the rounds (smallest to largest); ↓ lower is better, ↑ higher is better\n\n"); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "case\tmeasure\t\tours\tagainst\tratio\t(spread)\t")
	for _, l := range r.lines() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%.2f\t(%.2f to %.2f)\t\n",
			l.c.Title, l.m.Title, arrow(l.m), l.ours, l.against, l.ratio.Median, l.ratio.Min, l.ratio.Max)
	}
	return table.Flush()
}

func arrow(m Measure) string {
	if m.HigherIsBetter {
		return "↑"
	}
	return "↓"
}

func (r *Report) writeMedians(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "\nMedians\n\n"); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	heads := []string{"case", "measure"}
	for _, c := range r.Contenders {
		heads = append(heads, c.Name)
	}
	fmt.Fprintln(table, strings.Join(heads, "\t")+"\t")
	for _, c := range r.Cases {
		for _, m := range r.Measures {
			if cells, ok := r.medians(c, m); ok {
				fmt.Fprintln(table, strings.Join(cells, "\t")+"\t")
			}
		}
	}
	return table.Flush()
}

// medians is one row; ok says whether anything is in it.
func (r *Report) medians(c Case, m Measure) (cells []string, ok bool) {
	name := m.Title
	if m.Unit != "" {
		name += ", " + m.Unit
	}
	cells = []string{c.Title, name}
	for _, contender := range r.Contenders {
		value := r.Value(c.Key, m.Key, contender.Name)
		if value.Rounds == 0 {
			cells = append(cells, "")
			continue
		}
		cells, ok = append(cells, Figure(value.Median)), true
	}
	return cells, ok
}

// Figure writes a value with three digits that mean something.
func Figure(v float64) string {
	switch size := math.Abs(v); {
	case size >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
