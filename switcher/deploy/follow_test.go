package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestALineWithoutEndIsToldInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	long := strings.Repeat("x", 3*longestLine)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said []string
	stop := followFile(path, func(line string) { said = append(said, line) })
	if err := os.WriteFile(path, []byte("first\n"+long+"\nlast"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop()
	if len(said) < 3 || said[0] != "first" || said[len(said)-1] != "last" || strings.Join(said[1:len(said)-1], "") != long {
		t.Fatalf("%d lines, want the first, the long one and the last", len(said))
	}
	if i := slices.IndexFunc(said, func(line string) bool { return len(line) > 2*longestLine }); i >= 0 {
		t.Errorf("a piece has %d bytes", len(said[i]))
	}
}
