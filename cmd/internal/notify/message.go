package notify

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Outcome is how a deploy ended, in the words of deploy.notify_on.
type Outcome string

const (
	// Success is a deploy whose release has the traffic.
	Success Outcome = "success"
	// Failure is one that failed before the traffic moved.
	Failure Outcome = "failure"
	// Return is one whose traffic was returned automatically.
	Return Outcome = "return"
)

// Message says how a deploy ended. Empty fields are left out.
type Message struct {
	Outcome  Outcome
	Deploy   string // its id
	Release  string
	Revision string
	Subject  string // first line of the commit's message
	Services []string
	Host     string
	By       string // who deployed
	Duration time.Duration
	Error    string
	Where    string // where the traffic is now
}

// maxField bounds one value, so that a build's last words do not fill a screen.
const maxField = 500

// text is what people read, in Slack's own form of Markdown, which others take
// for plain text.
func (m Message) text() string {
	var b strings.Builder
	b.WriteString(m.headline())
	for _, line := range []struct{ label, value string }{
		{"Error", m.Error}, {"Traffic", m.Where}, {"Release", m.Release}, {"By", m.By}, {"Deploy", m.Deploy},
	} {
		if line.value != "" {
			b.WriteString("\n" + line.label + ": " + escape(line.value))
		}
	}
	return b.String()
}

// headline is what a phone shows.
func (m Message) headline() string {
	services := strings.Join(m.Services, ", ")
	head := map[Outcome]string{
		Success: ":white_check_mark: Deployed ",
		Failure: ":x: Deploy failed: ",
		Return:  ":leftwards_arrow_with_hook: Traffic was returned: ",
	}[m.Outcome]
	if head == "" {
		head = "Deploy ended (" + escape(string(m.Outcome)) + "): "
	}
	head += escape(services)
	if m.Revision != "" {
		head += " at " + escape(short(m.Revision))
	}
	if m.Subject != "" {
		head += " “" + escape(m.Subject) + "”"
	}
	if m.Host != "" {
		head += " on " + escape(m.Host)
	}
	if m.Duration > 0 {
		head += " after " + took(m.Duration)
	}
	return head
}

// shortRevision is as much of a revision as the names of releases have.
const shortRevision = 12

// short is a revision as people write it; that of an artifact is its checksum.
func short(revision string) string {
	revision = strings.TrimPrefix(revision, "sha256:")
	return revision[:min(len(revision), shortRevision)]
}

// took rounds to what people care for, and never to nothing: a deploy that is
// refused at its beginning takes milliseconds.
func took(d time.Duration) string {
	switch {
	case d < time.Second:
		d = max(d.Round(time.Millisecond), time.Millisecond)
	case d < 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	default:
		d = d.Round(time.Second)
	}
	return d.String()
}

// escape makes a value of somebody else's a piece of one line of text: no
// mention, no link, no markup of Slack's comes out of it.
func escape(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return -1
		}
		return r
	}, s)
	if len(s) > maxField {
		s = strings.ToValidUTF8(s[:maxField], "") + "…"
	}
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(strings.TrimSpace(s))
}
