// Package report turns the samples of a benchmark into ratios, a table, CSV
// files and a picture. A ratio is made within one round, of two runs that were
// minutes or less apart, and only then is the median over the rounds taken: what
// slows a whole round down cancels out.
package report
