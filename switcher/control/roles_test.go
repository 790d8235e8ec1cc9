package control_test

import (
	"strings"
	"testing"

	"charactier-proxy/switcher/control"
)

func groups(group, readGroup string) func(*control.Options) {
	return func(o *control.Options) { o.Group, o.ReadGroup = group, readGroup }
}

// The numbers are of no group in particular; nobody is in none of them but by
// the test's doing.
func TestWhatAnotherUserMayDo(t *testing.T) {
	for name, c := range map[string]struct {
		groups []uint32
		want   []string
	}{
		"a stranger may do nothing and learns which group would let them in": {
			want: []string{
				"look: exit 1: not allowed: nobody may not use the control socket (hint: sudo usermod -aG 61001 nobody  # then log in again)",
				"change: exit 1: not allowed: nobody may not use the control socket (hint: sudo usermod -aG 61000 nobody  # then log in again)",
			},
		},
		"a member of the reading group may look": {
			groups: []uint32{61001},
			want: []string{
				"look: done",
				"change: exit 1: not allowed: nobody may look but not change anything (hint: sudo usermod -aG 61000 nobody  # then log in again)",
			},
		},
		"a member of the group may do everything": {
			groups: []uint32{61000},
			want:   []string{"look: done", "change: done"},
		},
		"one in very many groups is recognised": {
			groups: append(manyGroups(200), 61000),
			want:   []string{"look: done", "change: done"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, fake{}, groups("61000", "61001"))
			openDoor(t, w.socket)
			got := asUser(t, w.socket, c.groups...)
			if want := strings.Join(c.want, "\n") + "\n"; got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func manyGroups(n uint32) []uint32 {
	var all []uint32
	for i := range n {
		all = append(all, 50000+i)
	}
	return all
}

func TestWithoutGroupsOnlyRootMay(t *testing.T) {
	w := serve(t, fake{})
	openDoor(t, w.socket)
	got := asUser(t, w.socket)
	if !strings.Contains(got, "look: exit 1: not allowed") || !strings.Contains(got, "ask as root") {
		t.Errorf("got\n%s", got)
	}
	if _, err := w.client.Status(t.Context()); err != nil {
		t.Errorf("the daemon's own user: %v", err)
	}
}

func TestRefusedStrangersAreInTheAuditLog(t *testing.T) {
	w := serve(t, fake{})
	openDoor(t, w.socket)
	asUser(t, w.socket)
	entries := w.logs.FilterLoggerName("audit").All()
	if len(entries) != 1 {
		t.Fatalf("got %d audit lines, want 1", len(entries))
	}
	f := entries[0].ContextMap()
	if f["user"] != "nobody" || f["outcome"] != "forbidden" || !strings.HasSuffix(f["command"].(string), "/child") {
		t.Errorf("got %v", f)
	}
}

func TestPermissionDeniedOnTheSocketNamesTheGroupToJoin(t *testing.T) {
	w := serve(t, fake{})
	chgrp(t, w.socket, "daemon")
	got := asUser(t, w.socket)
	if !strings.Contains(got, "look: exit 5: ") || !strings.Contains(got, "permission denied on "+w.socket) ||
		!strings.Contains(got, "usermod -aG daemon nobody") {
		t.Errorf("got\n%s", got)
	}
}

func TestUnknownGroupIsAnError(t *testing.T) {
	_, err := control.NewServer(control.Options{Group: "no-such-group"})
	if err == nil || !strings.Contains(err.Error(), "no-such-group") {
		t.Errorf("got %v, want an error that names the group", err)
	}
}
