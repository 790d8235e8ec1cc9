package charactierproxy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// These pages are worth something only as long as each promise on them is held.
func TestEveryTestThatThePagesNameExists(t *testing.T) {
	exists := testNames(t)
	for page, least := range map[string]int{"docs/behaviour.md": 100, "SECURITY.md": 60} {
		checkNames(t, page, least, exists)
	}
}

func checkNames(t *testing.T, page string, least int, exists map[string]bool) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllStringSubmatch(string(text), -1)
	for _, match := range named {
		if name := match[1]; !exists[name] && name != "TestName" {
			t.Errorf("%s names %s, which is no test", page, name)
		}
	}
	if len(named) < least {
		t.Errorf("%s names %d tests only", page, len(named))
	}
}

// testNames are the tests of all packages.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	files, err := testFiles()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Z]\w*)\(`)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range function.FindAllSubmatch(source, -1) {
			names[string(match[1])] = true
		}
	}
	return names
}

func testFiles() (files []string, err error) {
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git" || d.Name() == "bin"):
			return filepath.SkipDir
		}
		if match, _ := filepath.Match("*_test.go", d.Name()); match {
			files = append(files, path)
		}
		return nil
	})
	return files, err
}
