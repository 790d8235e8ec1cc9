package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size. It is written as a plain number or with a unit: 64KiB,
// 20MB.
type Bytes int64

// The binary units.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

const maxBytes = 1024 * GiB

type byteUnit struct {
	name string
	size Bytes
}

// byteUnits are in the order in which String tries them.
func byteUnits() []byteUnit {
	return []byteUnit{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}}
}

// String is the shortest text that parseBytes reads as b.
func (b Bytes) String() string {
	for _, u := range byteUnits() {
		if b != 0 && u.size > 1 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

func parseBytes(text string) (Bytes, error) {
	digits, size := text, Bytes(1)
	for _, u := range byteUnits() {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			digits, size = strings.TrimSpace(number), u.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if limit := math.MaxInt64 / int64(size); err != nil || n > limit || n < -limit {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return Bytes(n) * size, nil
}

// short writes a duration as a person would: "10m" for time's "10m0s".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseDuration refuses negative durations and those without a unit, "0"
// included.
func parseDuration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("%s has no unit: is it %ss or %sms?", text, text, text)
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration", text)
	}
	return d, nil
}

func decimal(n int) string { return strconv.Itoa(n) }
