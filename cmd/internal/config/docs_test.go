package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/config"
)

func TestTheReferenceNamesEveryKeyAsItIs(t *testing.T) {
	path := filepath.Join(docs, "config.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	text = between(t, text, "<!-- service keys:", "<!-- end -->", table(config.ServiceKeys(config.NewService("NAME"))))
	text = between(t, text, "<!-- global keys:", "<!-- end -->", table(config.GlobalKeys(&config.Config{})))
	golden(t, path, text)
}

// between replaces what stands after the line with begin and before end.
func between(t *testing.T, text, begin, end, middle string) string {
	t.Helper()
	head, rest, ok := strings.Cut(text, begin)
	mark, rest, ok2 := strings.Cut(rest, "\n")
	_, tail, ok3 := strings.Cut(rest, end)
	if !ok || !ok2 || !ok3 {
		t.Fatalf("the reference has no part from %q to %q", begin, end)
	}
	return head + begin + mark + "\n" + middle + end + tail
}

func table(keys []config.KeyInfo) string {
	var b strings.Builder
	b.WriteString("| Key | Type | Default | Allowed | Change | Meaning |\n|---|---|---|---|---|---|\n")
	for _, k := range keys {
		preset := code(k.Preset)
		if of := config.BuiltinAddresses()[k.Name]; of != "" {
			preset = fmt.Sprintf("must be given (`%s` has %s)", config.BuiltinService, code(of))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", k.Name, k.Type, preset, k.Allowed, k.Change, k.Meaning)
	}
	return b.String()
}

func code(preset string) string {
	if preset == "" {
		return "`\"\"`"
	}
	return "`" + strings.ReplaceAll(preset, "{service}", "NAME") + "`"
}

const exampleHead = `# Every key of charactier-proxy with its default, for reading and copying from.
# A real file needs only the keys whose values differ; see config.md.

`

func TestTheExampleIsTheDefaultConfiguration(t *testing.T) {
	path := filepath.Join(docs, "example.yaml")
	golden(t, path, exampleHead+config.Annotated(comment))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("example.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), c, compare); diff != "" {
		t.Errorf("the example differs from the defaults (-default +example):\n%s", diff)
	}
}

func TestTheFrontendsExampleIsTakenWithoutAWarning(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docs, "frontend.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	yaml, _, _ := strings.Cut(rest, "```")
	c, err := config.Parse("frontend.md", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Services["frontend"]; len(c.Services) != 2 || f.Assets.Path != "/_next/static/" {
		t.Errorf("it has %d services, assets %v", len(c.Services), f.Assets)
	}
	if w := c.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
}

// comment breaks a text into lines of comments.
func comment(text, indent string) string {
	const width = 100
	var b strings.Builder
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}
