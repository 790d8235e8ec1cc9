package main

import (
	"slices"
	"strings"

	"charactier-proxy/switcher/control"
)

// said are the texts that a screen has shown: the daemon tells some things in
// several places, for those who read only one of them.
type said struct{ texts []string }

// saidOf are the long texts within the services.
func saidOf(services []control.ServiceStatus) *said {
	s := &said{}
	for _, service := range services {
		if service.Bake != nil {
			s.add(service.Bake.Text)
		}
		for _, slot := range service.Slots {
			if slot.Health.State != healthy {
				s.add(slot.Health.Error)
			}
			if slot.Role != nil {
				s.add(slot.Role.Error)
			}
		}
	}
	return s
}

func (s *said) add(text string) {
	if text = strings.TrimSuffix(clean(text), "."); text != "" {
		s.texts = append(s.texts, text)
	}
}

// shorten leaves out, of a text, what was shown and stands in parentheses or at
// the end. It is empty where nothing is left to say.
func (s *said) shorten(text string) string {
	if slices.Contains(s.texts, text) {
		return ""
	}
	full := text
	for _, t := range s.texts {
		text = strings.TrimSuffix(strings.ReplaceAll(text, " ("+t+")", ""), ": "+t)
	}
	s.texts = append(s.texts, full)
	return text
}
