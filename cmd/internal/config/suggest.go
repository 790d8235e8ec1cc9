package config

import (
	"fmt"
	"slices"
	"strings"

	"charactier-proxy/cmd/internal/spelling"
)

// unknownKey says what may have been meant by a key that is not in the table:
// a similar one beside it, or the same name in another section.
func unknownKey(base, sub, name string, fields []field) string {
	known := namesWithin(sub, fields)
	if base == "" && sub == "" {
		known = append([]string{"services"}, known...)
	}
	if near := spelling.Nearest(name, known); near != "" {
		return fmt.Sprintf("is not a key, did you mean %q?", near)
	}
	for _, f := range fields {
		if section, ok := strings.CutSuffix(f.name, "."+name); ok {
			return fmt.Sprintf("is not a key here, it belongs below %q", base+section)
		}
	}
	return "is not a key; known here: " + strings.Join(known, ", ")
}

// namesWithin returns the names that may stand in the section sub.
func namesWithin(sub string, fields []field) []string {
	var names []string
	for _, f := range fields {
		rest, ok := strings.CutPrefix(f.name, sub)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
