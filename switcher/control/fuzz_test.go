package control

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// What is accepted is sound and comes through another round unchanged; nothing
// makes the daemon panic.
func FuzzSwitchRequest(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"to":"green","services":["a","b"],"force":true,"reason":"r","wait_ns":1,"drain_ns":-1}`,
		`{"to":"red"}`, `{"reason":"\u202e"}`, `{"wait_ns":9223372036854775808}`, `{"to":null}`, `[]`, `null`, `{}{}`,
		"{\"reason\":\"\xff\"}", `{"TO":"blue"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r SwitchRequest
		if decode(bytes.NewReader(data), &r) != nil || r.validate() != nil {
			return
		}
		if r.To != "" && r.To != "blue" && r.To != "green" || r.Wait < 0 || len(r.Reason) > MaxReason {
			t.Fatalf("accepted %+v", r)
		}
		for _, c := range r.Reason {
			if !unicode.IsPrint(c) {
				t.Fatalf("accepted the reason %q", r.Reason)
			}
		}
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again SwitchRequest
		if err := decode(bytes.NewReader(raw), &again); err != nil {
			t.Fatalf("decoding %s again: %v", raw, err)
		}
		if len(r.Services) == 0 { // an empty list is not kept apart from none
			r.Services = nil
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Fatalf("another round (-first +second):\n%s", diff)
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[2Jb\x00\u202e\xff", 4)
	f.Add("日本語", 5)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = 8 + abs(limit)%300
		got := printable(text, limit)
		if len(got) > limit {
			t.Fatalf("%q has %d bytes, over %d", got, len(got), limit)
		}
		for _, c := range got {
			if !unicode.IsPrint(c) {
				t.Fatalf("%q is left in %q", c, got)
			}
		}
	})
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}
