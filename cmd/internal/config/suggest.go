package config

import (
	"fmt"
	"slices"
	"strings"
)

// unknownKey says what may have been meant by a key that is not in the table:
// a similar one beside it, or the same name in another section.
func unknownKey(base, sub, name string, fields []field) string {
	known := namesWithin(sub, fields)
	if base == "" && sub == "" {
		known = append([]string{"services"}, known...)
	}
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf("is not a key, did you mean %q?", near)
	}
	for _, f := range fields {
		if section, ok := strings.CutSuffix(f.name, "."+name); ok {
			return fmt.Sprintf("is not a key here, it belongs below %q", base+section)
		}
	}
	return "is not a key; known here: " + strings.Join(known, ", ")
}

// namesWithin returns the names that may stand in the section sub.
func namesWithin(sub string, fields []field) []string {
	var names []string
	for _, f := range fields {
		rest, ok := strings.CutPrefix(f.name, sub)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// nearest returns the word that a typing error is most likely to have turned
// into typed, or "".
func nearest(typed string, words []string) string {
	best, bestDistance := "", max(1, min(2, len(typed)/3))+1
	for _, word := range words {
		if d := distance(strings.ToLower(typed), word); d < bestDistance {
			best, bestDistance = word, d
		}
	}
	return best
}

// distance is how many characters have to be inserted, removed, replaced or
// swapped with their neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			replace := rows[i-1][j-1]
			if x[i-1] != y[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
