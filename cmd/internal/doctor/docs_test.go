package doctor

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

// docs/guide-map.md says which check looks at each item of the old guide.
func TestTheGuidesMapNamesChecksThatThereAre(t *testing.T) {
	page, err := os.ReadFile("../../../docs/guide-map.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`doctor: ([^`]+)`").FindAllSubmatch(page, -1)
	if len(named) < 20 {
		t.Errorf("only %d checks are named", len(named))
	}
	for _, n := range named {
		if !slices.ContainsFunc(Checks(), func(c Check) bool { return c.Name == string(n[1]) }) {
			t.Errorf("there is no check %q", n[1])
		}
	}
}
