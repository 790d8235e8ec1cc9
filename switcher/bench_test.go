package switcher_test

import (
	"path/filepath"
	"testing"

	"charactier-proxy/switcher"
)

// BenchmarkSwitch is a whole switch on a real disk, probing and draining apart:
// what is left of the time is syncing.
func BenchmarkSwitch(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "state")
	err := tryStart(dir, nil, func(s *switcher.Switcher) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := s.Switch(b.Context(), switcher.Request{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
}
