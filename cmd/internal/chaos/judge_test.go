package chaos

import (
	"fmt"
	"slices"
	"testing"

	"charactier-proxy/switcher"

	"github.com/google/go-cmp/cmp"
)

var (
	blue  = place{"backend", switcher.Blue}
	green = place{"backend", switcher.Green}
)

// trial is a run of one visit, from moment 100 to 200 unless it says otherwise,
// of a service that was switched from blue to green at 150 to 160.
type trial struct {
	name   string
	visit  visit
	seen   []sighting
	faults []fault
	want   string // the promise, or "failed"; empty: nothing is wrong
}

func at(p place, m moment) sighting { return sighting{place: p, Life: "1", At: m} }

func broke(kind faultKind, p place, begun, ended moment) fault {
	return fault{Kind: kind, At: p, Begun: begun, Ended: ended}
}

var (
	answered = visit{Method: "POST", Slot: switcher.Blue, Life: "1"}
	backend  = place{Service: "backend"}
)

func failing(s symptom) visit { return visit{Method: "POST", Kind: "post", Symptom: s} }

func (v visit) with(change func(*visit)) visit { change(&v); return v }

func over(way, method string, s symptom) visit {
	return visit{Method: method, Kind: "get", Way: way, Symptom: s, Slot: switcher.Blue}
}

var trials = []trial{
	{"a good answer", answered, []sighting{at(blue, 110)}, nil, ""},
	{"an answer of the slot that became active", answered.with(func(v *visit) { v.Slot = switcher.Green }), []sighting{at(green, 155)}, nil, ""},
	{"an answer of a slot that never saw the request", answered, []sighting{at(green, 155)}, nil, "P1"},
	{"an answer that nobody gave", answered, nil, nil, "P1"},
	{"an answer of another life", answered.with(func(v *visit) { v.Life = "2" }), []sighting{at(blue, 110)}, nil, "P1"},
	{"two slots", failing(left), []sighting{at(blue, 110), at(green, 155)}, nil, "P1 P3"},
	{"a retired slot", answered.with(func(v *visit) { v.Begun, v.Ended = 170, 200 }), []sighting{at(blue, 180)}, nil, "P2"},
	{"a slot that is not active yet", answered.with(func(v *visit) { v.Slot, v.Ended = switcher.Green, 140 }), []sighting{at(green, 120)}, nil, "P2"},
	{"a slot that was active when the request began", answered.with(func(v *visit) { v.Begun = 160 }), []sighting{at(blue, 190)}, nil, ""},
	{"a POST that arrives twice", answered, []sighting{at(blue, 110), at(blue, 120)}, nil, "P3"},
	{"a POST that arrives twice in a crash", answered, []sighting{at(blue, 110), at(blue, 120)}, []fault{broke(slotKilled, blue, 105, 125)}, "P3"},
	{"a GET that arrives twice", over("direct", "GET", good), []sighting{at(blue, 110), at(blue, 120)}, nil, "P3"},
	{"a GET that arrives twice in a crash", over("direct", "GET", good), []sighting{at(blue, 110), at(blue, 120)}, []fault{broke(slotKilled, blue, 105, 125)}, ""},
	{"a GET that nginx sends again", over("nginx", "GET", good), []sighting{at(blue, 110), at(green, 155)}, []fault{broke(daemonKilled, place{}, 112, 113)}, ""},
	{"a GET that moves", over("direct", "GET", good), []sighting{at(blue, 110), at(green, 155)}, []fault{broke(daemonKilled, place{}, 112, 113)}, "P1"},
	{"a wrong answer", failing(wrong), []sighting{at(blue, 110)}, []fault{broke(slotKilled, blue, 105, 125)}, "P4"},
	{"a stranger that is believed", failing(wrong).with(func(v *visit) { v.Detail = "wrong: P5: a claim" }), []sighting{at(blue, 110)}, nil, "P5"},
	{"a stream that changes its process", failing(wrong).with(func(v *visit) { v.Detail = "wrong: P1: the stream" }), []sighting{at(blue, 110)}, nil, "P1"},
	{"a request behind a close that arrives", failing(behind), []sighting{at(blue, 110)}, nil, "P3"},
	{"a failure for no reason", failing("error slot-reset"), []sighting{at(blue, 110)}, nil, "failed"},
	{"a failure in a crash", failing("error slot-reset"), []sighting{at(blue, 110)}, []fault{broke(slotKilled, blue, 105, 125)}, ""},
	{"a failure in a crash of the other slot", failing("error slot-reset"), []sighting{at(blue, 110)}, []fault{broke(slotKilled, green, 105, 125)}, "failed"},
	{"a failure in a crash of another service", failing("error slot-reset"), nil, []fault{broke(slotKilled, place{"frontend", switcher.Blue}, 105, 125)}, "failed"},
	{"a failure before a crash", failing("error slot-reset"), nil, []fault{broke(slotKilled, blue, 201, 225)}, "failed"},
	{"a failure after a crash", failing("error slot-reset"), nil, []fault{broke(slotKilled, blue, 50, 99)}, "failed"},
	{"a failure that a delay does not explain", failing("error slot-reset"), nil, []fault{broke(linkDelayed, blue, 50, 300)}, "failed"},
	{"a failure in a switch", failing(noAnswer), nil, []fault{broke(switched, place{}, 150, 160)}, "failed"},
	{"a reset in a restart of the daemon", failing(noAnswer), nil, []fault{broke(daemonStopped, place{}, 50, 300)}, "failed"},
	{"an idle connection that ends in a restart", failing(idleEnded), nil, []fault{broke(daemonStopped, place{}, 50, 300)}, ""},
	{"one that ends in a restart with a request that arrived", failing(idleEnded), []sighting{at(blue, 110)}, []fault{broke(daemonStopped, place{}, 50, 300)}, "failed"},
	{"an idle connection that ends for no reason", failing(idleEnded), nil, nil, "failed"},
	{"a reset in a kill of the daemon", failing(noAnswer), nil, []fault{broke(daemonKilled, place{}, 120, 121)}, ""},
	{"a refused connection in a kill of the daemon", failing(refused), nil, []fault{broke(daemonKilled, place{}, 120, 121)}, "failed"},
	{"a client of nginx's after a kill", over("nginx", "POST", byNginx), nil, []fault{{Kind: daemonKilled, Begun: 50, Ended: 60, Nginx: 110}}, ""},
	{"a client of ours after a kill", over("direct", "POST", noAnswer), nil, []fault{{Kind: daemonKilled, Begun: 50, Ended: 60, Nginx: 110}}, "failed"},
	{"a GET that nginx sends again to a dead slot", over("nginx", "GET", "error slot-down-hold-full"), []sighting{at(blue, 110)},
		[]fault{broke(daemonKilled, place{}, 112, 113), broke(slotKilled, green, 120, 300)}, ""},
	{"a request behind the end of an HTTP/2 connection", failing(turnedAway), nil, []fault{broke(daemonStopped, place{}, 50, 300)}, ""},
	{"one that is turned away and arrives", failing(turnedAway), []sighting{at(blue, 110)}, []fault{broke(daemonStopped, place{}, 50, 300)}, "P3"},
	{"one that is turned away for no reason", failing(turnedAway), nil, nil, "failed"},
	{"a wait for a slot that is away for long", failing("error slot-down-too-long").with(func(v *visit) { v.Ended = 100 + moment(holdTime) }), nil,
		[]fault{broke(slotKilled, blue, 50, 300)}, ""},
	{"one that ended before its time", failing("error slot-down-too-long"), nil, []fault{broke(slotKilled, blue, 50, 300)}, "failed"},
	{"a wait for a slot that is there", failing("error slot-down-too-long").with(func(v *visit) { v.Ended = 100 + moment(holdTime) }), nil, nil, "failed"},
	{"a hold that was too long", failing("error held-too-long"), nil, []fault{broke(held, backend, 50, 300)}, ""},
	{"a hold that nobody asked for", failing("error held-too-long"), nil, nil, "failed"},
	{"a stream that ends at a restart", failing(ended).with(func(v *visit) { v.Kind = "events" }), []sighting{at(blue, 110)}, []fault{broke(daemonStopped, place{}, 150, 300)}, ""},
	{"a stream that ends at a switch", failing(ended).with(func(v *visit) { v.Kind = "events" }), []sighting{at(blue, 110)}, []fault{broke(switched, place{}, 150, 300)}, "failed"},
	{"a stream that is torn at a restart", failing(torn).with(func(v *visit) { v.Kind = "events" }), []sighting{at(blue, 110)}, []fault{broke(daemonStopped, place{}, 150, 300)}, "failed"},
	{"a status that nobody gave", failing(otherError), []sighting{at(blue, 110)}, []fault{broke(slotKilled, blue, 105, 125)}, "failed"},
	{"an answer that is late", failing(late), []sighting{at(blue, 110)}, []fault{broke(slotHung, blue, 105, 125)}, "failed"},
}

func TestTheJudgeKnowsRightFromWrong(t *testing.T) {
	for _, trial := range trials {
		t.Run(trial.name, func(t *testing.T) {
			v := trial.visit
			v.ID, v.Service = "x", "backend"
			if v.Begun == 0 {
				v.Begun = 100
			}
			if v.Ended == 0 {
				v.Ended = 200
			}
			n := newNotes()
			n.visited(v)
			for _, f := range trial.faults {
				n.faults = append(n.faults, &f)
			}
			m := newModel([]string{"backend"})
			m.spans["backend"] = []span{{switcher.Blue, 0, 160}, {switcher.Green, 150, never}}
			got := judge(n, m, map[string][]sighting{"x": trial.seen})
			var promises []string
			for _, violation := range got.violations {
				p := violation.Promise
				if p == "" {
					p = "failed"
				}
				promises = append(promises, p)
			}
			slices.Sort(promises)
			if text := fmt.Sprint(promises); text != "["+trial.want+"]" {
				t.Errorf("got %s, want [%s]: %v", text, trial.want, got.violations)
			}
		})
	}
}

func TestABreachOfTheDaemonsIsAViolation(t *testing.T) {
	n := newNotes()
	n.breach("S1", "backend is on %s", switcher.Green)
	got := judge(n, newModel([]string{"backend"}), nil)
	if len(got.violations) != 1 || got.violations[0].Promise != "S1" || got.violations[0].Text != "backend is on green" {
		t.Errorf("got %+v", got.violations)
	}
}

func TestTheTableCountsByFault(t *testing.T) {
	n := newNotes()
	n.visited(visit{ID: "a", Service: "backend", Begun: 10, Ended: 20, Symptom: noAnswer})
	n.visited(visit{ID: "b", Service: "backend", Begun: 30, Ended: 40, Symptom: noAnswer})
	n.faults = []*fault{{Kind: daemonKilled, Begun: 15, Ended: 16}, {Kind: daemonKilled, Begun: 25, Ended: 26}}
	n.loses(daemonKilled)
	got := judge(n, newModel([]string{"backend"}), nil)
	want := map[faultKind]row{daemonKilled: {times: 2, requests: 1, allowed: 1, lost: 1}, nothing: {wrong: 1}}
	rows := map[faultKind]row{}
	for kind, r := range got.rows {
		rows[kind] = *r
	}
	if diff := cmp.Diff(want, rows, cmp.AllowUnexported(row{})); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
