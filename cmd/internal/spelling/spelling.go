// Package spelling finds the word that somebody meant.
package spelling

import "strings"

// Nearest returns the word that typed was probably meant to be: the one it
// begins, or one that a typing error turned into it. Empty means none is near.
func Nearest(typed string, words []string) string {
	typed = strings.ToLower(typed)
	// A short word has no room for two errors.
	best, least := "", max(1, min(2, len(typed)/3))+1
	for _, word := range words {
		d := distance(typed, word)
		if len(typed) > 1 && strings.HasPrefix(word, typed) {
			d = min(d, 1)
		}
		if d < least {
			best, least = word, d
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
