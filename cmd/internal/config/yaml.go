package config

import "strings"

// YAML writes every key with its value, as [Parse] reads it back.
func (c *Config) YAML() string {
	return writeYAML(c.fields(), func(field, string) string { return "" })
}

// writeYAML writes fields as nested sections. comment returns what stands above
// a field, given its indentation.
func writeYAML(fields []field, comment func(f field, indent string) string) string {
	var b strings.Builder
	var open []string // the sections that the line before stands in
	for _, f := range fields {
		names := strings.Split(f.name, ".")
		sections, name := names[:len(names)-1], names[len(names)-1]
		shared := 0
		for shared < min(len(open), len(sections)) && open[shared] == sections[shared] {
			shared++
		}
		for depth, section := range sections[shared:] {
			b.WriteString(strings.Repeat("  ", shared+depth) + quote(section) + ":\n")
		}
		open = sections
		indent := strings.Repeat("  ", len(sections))
		b.WriteString(comment(f, indent) + indent + name + ": " + format(f.at) + "\n")
	}
	return b.String()
}
