package main

import (
	"fmt"
	"strings"
)

// diffContext is how many lines that are the same are shown around others.
const diffContext = 3

// diffLine is a line of one text, of the other, or of both.
type diffLine struct {
	sign byte // ' ', '-', '+'
	text string
}

// unifiedDiff is what makes a into b, in the form that patch reads.
func unifiedDiff(nameA, nameB, a, b string) string {
	lines := diffLines(splitLines(a), splitLines(b))
	var out strings.Builder
	fmt.Fprintf(&out, "--- %s\n+++ %s\n", nameA, nameB)
	for from := 0; ; {
		first, last := nextHunk(lines, from)
		if first < 0 {
			return out.String()
		}
		writeHunk(&out, lines, first, last)
		from = last
	}
}

func splitLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, line)
	}
	return lines
}

// diffLines finds a longest common subsequence. Both texts are small.
func diffLines(a, b []string) []diffLine {
	var head, tail []diffLine
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, diffLine{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		tail = append([]diffLine{{' ', a[len(a)-1]}}, tail...)
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	common := commonLengths(a, b)
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			head = append(head, diffLine{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			head = append(head, diffLine{'-', a[i]})
			i++
		default:
			head = append(head, diffLine{'+', b[j]})
			j++
		}
	}
	return append(head, tail...)
}

// commonLengths says how many lines a[i:] and b[j:] have in common.
func commonLengths(a, b []string) [][]int {
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			common[i][j] = max(common[i+1][j], common[i][j+1])
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	return common
}

// nextHunk is the next run of changes with its context; first is -1 if there
// is none.
func nextHunk(lines []diffLine, from int) (first, last int) {
	first, last = -1, -1
	for i := from; i < len(lines); i++ {
		switch {
		case lines[i].sign == ' ':
		case first < 0:
			first, last = max(from, i-diffContext), i+1
		case i-last <= 2*diffContext:
			last = i + 1
		}
	}
	return first, min(last+diffContext, len(lines))
}

func writeHunk(out *strings.Builder, lines []diffLine, first, last int) {
	lineA, lineB := 1, 1
	for _, l := range lines[:first] {
		lineA, lineB = lineA+inA(l), lineB+inB(l)
	}
	countA, countB := 0, 0
	for _, l := range lines[first:last] {
		countA, countB = countA+inA(l), countB+inB(l)
	}
	fmt.Fprintf(out, "@@ -%d,%d +%d,%d @@\n", lineA, countA, lineB, countB)
	for _, l := range lines[first:last] {
		out.WriteByte(l.sign)
		out.WriteString(l.text)
		if !strings.HasSuffix(l.text, "\n") {
			out.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

func inA(l diffLine) int { return map[bool]int{true: 1}[l.sign != '+'] }
func inB(l diffLine) int { return map[bool]int{true: 1}[l.sign != '-'] }
