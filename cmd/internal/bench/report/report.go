package report

import (
	"maps"
	"math"
	"slices"
)

// Kind says what a contender is compared with.
type Kind int

const (
	// Ours is the numerator of every ratio.
	Ours Kind = iota
	// Rival is a denominator, alone and as the better of all rivals.
	Rival
	// Reference is a denominator for information.
	Reference
)

// TheBetter stands for the rival that did better in the same round.
const TheBetter = "the better"

// Contender is one who took part.
type Contender struct {
	Name string
	Kind Kind
	// Of is the only one of ours that a reference is for; empty: all of them.
	Of string
}

// Measure is something that was measured.
type Measure struct {
	Key, Title, Unit string
	HigherIsBetter   bool
	// Alone means that no ratio is made of it.
	Alone bool
	// Pictured puts its ratios into the picture.
	Pictured bool
}

// Case is one kind of load.
type Case struct{ Key, Title string }

// Sample is one measurement.
type Sample struct {
	Case, Measure, Contender string
	Round                    int
	Value                    float64
}

// Report is all that is known of a benchmark.
type Report struct {
	// Facts are lines about machine and versions.
	Facts      []string
	Cases      []Case
	Measures   []Measure
	Contenders []Contender
	Samples    []Sample
}

// Spread sums up several values.
type Spread struct {
	Median, Min, Max float64
	Rounds           int
}

// spreadOf sums up values; of none it is the zero Spread.
func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{
		Median: (sorted[(n-1)/2] + sorted[n/2]) / 2,
		Min:    sorted[0],
		Max:    sorted[n-1],
		Rounds: n,
	}
}

// Value sums up what a contender did in all rounds.
func (r *Report) Value(c, measure, contender string) Spread {
	return spreadOf(slices.Collect(maps.Values(r.rounds(c, measure, contender))))
}

// Everywhere sums up a measure over all cases, contenders and rounds.
func (r *Report) Everywhere(measure string) Spread {
	var values []float64
	for _, s := range r.Samples {
		if s.Measure == measure {
			values = append(values, s.Value)
		}
	}
	return spreadOf(values)
}

// Ratio sums up ours divided by the other's of the same round. Rounds in which
// either is missing or the other's is zero do not count.
func (r *Report) Ratio(c, measure, ours, against string) Spread {
	denominators := r.rounds(c, measure, against)
	if against == TheBetter {
		denominators = r.better(c, measure)
	}
	var ratios []float64
	for round, value := range r.rounds(c, measure, ours) {
		if other := denominators[round]; other > 0 {
			ratios = append(ratios, value/other)
		}
	}
	return spreadOf(ratios)
}

// rounds are the values of one contender by round.
func (r *Report) rounds(c, measure, contender string) map[int]float64 {
	values := map[int]float64{}
	for _, s := range r.Samples {
		if s.Case == c && s.Measure == measure && s.Contender == contender {
			values[s.Round] = s.Value
		}
	}
	return values
}

// better are the best values of all rivals by round; a round that one of them
// missed has none.
func (r *Report) better(c, measure string) map[int]float64 {
	pick := math.Min
	if r.measure(measure).HigherIsBetter {
		pick = math.Max
	}
	var best map[int]float64
	for _, rival := range r.Contenders {
		if rival.Kind != Rival {
			continue
		}
		values := r.rounds(c, measure, rival.Name)
		if best == nil {
			best = values
			continue
		}
		maps.DeleteFunc(best, func(round int, _ float64) bool { _, ok := values[round]; return !ok })
		for round := range best {
			best[round] = pick(best[round], values[round])
		}
	}
	return best
}

func (r *Report) measure(key string) Measure {
	i := slices.IndexFunc(r.Measures, func(m Measure) bool { return m.Key == key })
	if i < 0 {
		return Measure{Key: key, Title: key}
	}
	return r.Measures[i]
}

// line is one ratio with all that names it.
type line struct {
	c       Case
	m       Measure
	ours    string
	against string
	ratio   Spread
}

// lines are all ratios that there are samples for.
func (r *Report) lines() []line {
	var lines []line
	for _, c := range r.Cases {
		for _, m := range r.Measures {
			if m.Alone {
				continue
			}
			for _, ours := range r.Contenders {
				if ours.Kind == Ours {
					lines = append(lines, r.linesOf(c, m, ours.Name)...)
				}
			}
		}
	}
	return lines
}

func (r *Report) linesOf(c Case, m Measure, ours string) []line {
	var lines []line
	for _, against := range r.opponents(ours) {
		if ratio := r.Ratio(c.Key, m.Key, ours, against); ratio.Rounds > 0 {
			lines = append(lines, line{c, m, ours, against, ratio})
		}
	}
	return lines
}

// opponents are all that one of ours is divided by.
func (r *Report) opponents(ours string) []string {
	var names []string
	for _, kind := range []Kind{Rival, Reference} {
		for _, c := range r.Contenders {
			if c.Kind == kind && (c.Of == "" || c.Of == ours) {
				names = append(names, c.Name)
			}
		}
		if kind == Rival && len(names) > 1 {
			names = append(names, TheBetter)
		}
	}
	return names
}
