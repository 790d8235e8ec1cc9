package config_test

import (
	"testing"
	"time"

	"charactier-proxy/cmd/internal/config"
)

func TestSizesAreReadAndWrittenBack(t *testing.T) {
	for _, c := range []struct {
		text string
		want config.Bytes
		back string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"512B", 512, "512"},
		{"64KiB", 65536, "64KiB"},
		{"65536", 65536, "64KiB"},
		{"20MB", 20_000_000, "20MB"},
		{"20 MB", 20_000_000, "20MB"},
		{"3GB", 3_000_000_000, "3GB"},
		{"1048577", 1048577, "1048577"},
	} {
		got, err := config.Size(c.text)
		if err != nil || got != c.want || got.String() != c.back {
			t.Errorf("%q = %d (%s), %v; want %d (%s)", c.text, int64(got), got, err, int64(c.want), c.back)
		}
	}
	for _, text := range []string{"", "KiB", "1.5MB", "20m", "20mb", "9223372036854775807KiB", "-9223372036854775808GiB", "0x10"} {
		if got, err := config.Size(text); err == nil {
			t.Errorf("%q = %d, want an error", text, int64(got))
		}
	}
}

func TestDurationsAreWrittenAsAPersonWould(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"},
		{1500 * time.Millisecond, "1.5s"},
		{10 * time.Minute, "10m"},
		{2 * time.Hour, "2h"},
		{10 * time.Hour, "10h"},
		{90 * time.Minute, "1h30m"},
		{time.Hour + time.Second, "1h0m1s"},
		{20 * time.Second, "20s"},
	} {
		got := config.Short(c.d)
		if got != c.want {
			t.Errorf("short(%v) = %s, want %s", c.d, got, c.want)
		}
		if back, err := config.Duration(got); err != nil || back != c.d {
			t.Errorf("%s reads as %v, %v", got, back, err)
		}
	}
}

func TestADurationNeedsItsUnit(t *testing.T) {
	for _, text := range []string{"0", "2", "2.5", "1e3", "two", "2x", ""} {
		if got, err := config.Duration(text); err == nil {
			t.Errorf("%q = %v, want an error", text, got)
		}
	}
}

func TestAddressesThatMeanOneSocketOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80", "0.0.0.0:80", true},
		{"127.0.0.1:80", ":80", true},
		{"127.0.0.1:80", "[::]:80", true},
		{"127.0.0.1:80", "localhost:80", true},
		{"127.0.0.1:80", "LOCALHOST:080", true},
		{"127.0.0.1:80", "[::ffff:127.0.0.1]:80", true},
		{"127.0.0.1:0", "127.0.0.1:0", false},
		{"host-a:80", "host-b:80", false},
		{"host-a:80", "HOST-A:80", true},
		{"unix:/run/a", "unix:/run//a", true},
		{"unix:/run/a", "unix:/run/b", false},
		{"unix:/run/a", "127.0.0.1:80", false},
		{"", "", false},
	} {
		if got := config.Overlap(c.a, c.b); got != c.want {
			t.Errorf("overlap(%q, %q) = %v, want %v", c.a, c.b, got, c.want)
		}
		if got := config.Overlap(c.b, c.a); got != c.want {
			t.Errorf("overlap(%q, %q) = %v, want %v", c.b, c.a, got, c.want)
		}
	}
}
