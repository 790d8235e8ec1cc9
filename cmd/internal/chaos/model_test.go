package chaos

import (
	"fmt"
	"testing"

	"charactier-proxy/switcher"
)

func TestBothSlotsMayBeActiveUntilAnAttemptIsSettled(t *testing.T) {
	tests := []struct {
		name    string
		settle  func(*model)
		active  switcher.Slot
		during  string // the slots that may have been active during the attempt
		visible bool
	}{
		{"it was done", func(m *model) { m.settle("backend", switcher.Green, true) }, switcher.Green, "map[blue:true green:true]", true},
		{"it was refused", func(m *model) { m.settle("backend", switcher.Blue, false) }, switcher.Blue, "map[blue:true]", false},
		{"it was taken back", func(m *model) { m.settle("backend", switcher.Blue, true) }, switcher.Blue, "map[blue:true green:true]", true},
		{"it was answered before a kill", func(m *model) { m.arrive("backend") }, switcher.Green, "map[blue:true green:true]", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newModel([]string{"backend"})
			before := now()
			m.attempt([]string{"backend"})
			if _, known := m.active("backend"); known || !m.mayBe("backend", switcher.Blue) || !m.mayBe("backend", switcher.Green) {
				t.Error("during the attempt both must be possible")
			}
			meanwhile := now()
			test.settle(m)
			if got, known := m.active("backend"); got != test.active || !known {
				t.Errorf("active is %s (%t), want %s", got, known, test.active)
			}
			if got := fmt.Sprint(m.during("backend", meanwhile, meanwhile)); got != test.during {
				t.Errorf("during the attempt %s, want %s", got, test.during)
			}
			if after := fmt.Sprint(m.during("backend", now(), now())); after != fmt.Sprintf("map[%s:true]", test.active) {
				t.Errorf("afterwards %s", after)
			}
			if early := fmt.Sprint(m.during("backend", 0, before-1)); early != "map[blue:true]" {
				t.Errorf("before %s", early)
			}
		})
	}
}
