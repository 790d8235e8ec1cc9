package proxy

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/operations.md lists every cause with the status it is answered with.
func TestTheDocsListEveryCause(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, c := range slices.Sorted(maps.Keys(verdicts)) {
		v := verdicts[c]
		row := fmt.Sprintf("| `%s` | %d | %s | %s |", c, v.status, v.by, v.detail)
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("the page lacks the row\n%s", row)
		}
		rows++
	}
	_, table, _ := strings.Cut(string(page), "| cause | status |")
	table, _, _ = strings.Cut(table, "\n\n")
	if got := strings.Count(table, "\n| `"); got != rows {
		t.Errorf("the page has %d rows, want %d", got, rows)
	}
}
