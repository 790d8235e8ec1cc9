package control_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
)

// calls are the client's methods, each with the route that it must use.
func calls() map[control.Route]func(context.Context, control.Client) (any, error) {
	sw := control.SwitchRequest{To: switcher.Green, Services: []string{"backend"}, Force: true, Reason: "r", Wait: time.Second, Drain: -1, Bake: time.Minute, Within: "res"}
	hold := control.HoldRequest{Services: []string{"backend"}, Reason: "r"}
	return map[control.Route]func(context.Context, control.Client) (any, error){
		control.RouteVersion: func(ctx context.Context, c control.Client) (any, error) { return c.Version(ctx) },
		control.RouteStatus:  func(ctx context.Context, c control.Client) (any, error) { return c.Status(ctx) },
		control.RouteHistory: func(ctx context.Context, c control.Client) (any, error) { return c.History(ctx, 7) },
		control.RouteEvents: func(ctx context.Context, c control.Client) (any, error) {
			var got switcher.Event
			err := c.Events(ctx, 41, func(e switcher.Event) error { got = e; return nil })
			if errors.Is(err, control.ErrUnreachable) { // how a stream ends that the daemon ended
				err = nil
			}
			return got, err
		},
		control.RouteSwitch: func(ctx context.Context, c control.Client) (any, error) { return c.Switch(ctx, sw) },
		control.RouteRollback: func(ctx context.Context, c control.Client) (any, error) {
			back := sw
			back.To, back.Bake = "", 0
			return c.Rollback(ctx, back)
		},
		control.RouteHold:        func(ctx context.Context, c control.Client) (any, error) { return c.Hold(ctx, hold) },
		control.RouteReleaseHold: func(ctx context.Context, c control.Client) (any, error) { return c.ReleaseHold(ctx, hold) },
		control.RouteEndStreams: func(ctx context.Context, c control.Client) (any, error) {
			return c.EndStreams(ctx, control.EndStreamsRequest{Service: "backend", Slot: switcher.Green})
		},
		control.RouteAbort: func(ctx context.Context, c control.Client) (any, error) {
			return c.Abort(ctx, control.AbortRequest{ID: "op-1"})
		},
		control.RouteStopping: func(ctx context.Context, c control.Client) (any, error) {
			return c.Stopping(ctx, control.StoppingRequest{Unit: "blue.service"})
		},
		control.RouteReload: func(ctx context.Context, c control.Client) (any, error) { return c.Reload(ctx) },
		control.RouteUpgrade: func(ctx context.Context, c control.Client) (any, error) {
			return c.Upgrade(ctx, control.UpgradeRequest{Reason: "r"})
		},
		control.RouteReserve: func(ctx context.Context, c control.Client) (any, error) {
			r, err := c.Reserve(ctx, control.ReserveRequest{
				Kind: switcher.KindDeploy, Services: []string{"backend"}, Reason: "r",
				Moves: []switcher.Move{{Service: "backend", From: switcher.Blue, To: switcher.Green, ToRelease: "r2"}},
			})
			if err != nil {
				return nil, err
			}
			defer r.Close()
			return []any{r.ID, r.Generation, <-r.Asked()}, nil
		},
		control.RouteReserveStep: func(ctx context.Context, c control.Client) (any, error) {
			return withReservation(ctx, c, func(r *control.Reservation) (any, error) {
				return nil, r.Step(ctx, "build", "npm ci", switcher.LevelWarn)
			})
		},
		control.RouteReserveEnd: func(ctx context.Context, c control.Client) (any, error) {
			return withReservation(ctx, c, func(r *control.Reservation) (any, error) {
				return r.End(ctx, switcher.Record{Outcome: switcher.Done, Warning: "w"})
			})
		},
	}
}

func withReservation(ctx context.Context, c control.Client, do func(*control.Reservation) (any, error)) (any, error) {
	r, err := c.Reserve(ctx, control.ReserveRequest{Kind: switcher.KindDeploy})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return do(r)
}

// echo answers with what it was asked, so that a lost field is seen.
func echo() fake {
	say := func(kind switcher.Kind, asked any) (switcher.Record, error) {
		return switcher.Record{ID: "op", Kind: kind, Reason: fmt.Sprintf("%+v", asked)}, nil
	}
	return fake{
		status:  func(context.Context) control.Status { return control.Status{PID: 42} },
		history: func(n int) ([]switcher.Record, error) { return []switcher.Record{{ID: fmt.Sprint(n)}}, nil },
		events: func(_ context.Context, after uint64, emit func(switcher.Event) error) error {
			return emit(switcher.Event{Seq: after + 1, Text: "x"})
		},
		move: func(_ context.Context, r control.SwitchRequest, _ switcher.Actor) (switcher.Record, error) {
			return say(switcher.KindSwitch, r)
		},
		rollback: func(_ context.Context, r control.SwitchRequest, _ switcher.Actor) (switcher.Record, error) {
			return say(switcher.KindRollback, r)
		},
		hold: func(_ context.Context, r control.HoldRequest, _ switcher.Actor) (switcher.Record, error) {
			return say(switcher.KindHold, r)
		},
		releaseHold: func(_ context.Context, r control.HoldRequest, _ switcher.Actor) (switcher.Record, error) {
			return say(switcher.KindReleaseHold, r)
		},
		abort: func(_ context.Context, r control.AbortRequest, _ switcher.Actor) (control.AbortResult, error) {
			return control.AbortResult{ID: r.ID, Kind: switcher.KindSwitch}, nil
		},
		stopping: func(_ context.Context, r control.StoppingRequest, _ switcher.Actor) (control.StoppingResult, error) {
			return control.StoppingResult{Service: r.Unit, Slot: switcher.Blue, Active: true, Left: 3}, nil
		},
		endStreams: func(_ context.Context, r control.EndStreamsRequest, _ switcher.Actor) (control.EndStreamsResult, error) {
			if want := (control.EndStreamsRequest{Service: "backend", Slot: switcher.Green}); r != want {
				return control.EndStreamsResult{}, fmt.Errorf("got %+v", r)
			}
			return control.EndStreamsResult{Ended: 3, Cut: 2, Left: 1}, nil
		},
		reload: func(context.Context, switcher.Actor) (control.ConfigStatus, error) {
			return control.ConfigStatus{Path: "/c"}, nil
		},
		reserve: func(ctx context.Context, r control.ReserveRequest, _ switcher.Actor, tell func(any) error) error {
			err := tell(control.Reservation{ID: "res", Generation: 7})
			if err == nil {
				err = tell(control.ReservationAsk{Abort: fmt.Sprintf("%+v", r)})
			}
			<-ctx.Done()
			return err
		},
		reserveStep: func(_ context.Context, r control.ReserveStep) error {
			if want := (control.ReserveStep{ID: "res", Step: "build", Text: "npm ci", Level: switcher.LevelWarn}); r != want {
				return fmt.Errorf("got %+v", r)
			}
			return nil
		},
		reserveEnd: func(_ context.Context, r control.ReserveEnd) (switcher.Record, error) {
			r.Record.ID = r.ID
			return r.Record, nil
		},
	}
}

func TestClientAndServerAgreeOnEveryRoute(t *testing.T) {
	const moved = "{To:%s Services:[backend] Force:true Reason:r Wait:1s Drain:-1ns Bake:%s Within:res}"
	const held = "{Services:[backend] Reason:r}"
	want := map[control.Route]any{
		control.RouteVersion:     control.Version{Version: "v1", API: 1},
		control.RouteStatus:      control.Status{PID: 42},
		control.RouteHistory:     []switcher.Record{{ID: "7"}},
		control.RouteEvents:      switcher.Event{Seq: 42, Text: "x"},
		control.RouteSwitch:      switcher.Record{ID: "op", Kind: switcher.KindSwitch, Reason: fmt.Sprintf(moved, "green", "1m0s")},
		control.RouteRollback:    switcher.Record{ID: "op", Kind: switcher.KindRollback, Reason: fmt.Sprintf(moved, "", "0s")},
		control.RouteHold:        switcher.Record{ID: "op", Kind: switcher.KindHold, Reason: held},
		control.RouteReleaseHold: switcher.Record{ID: "op", Kind: switcher.KindReleaseHold, Reason: held},
		control.RouteAbort:       control.AbortResult{ID: "op-1", Kind: switcher.KindSwitch},
		control.RouteStopping:    control.StoppingResult{Service: "blue.service", Slot: switcher.Blue, Active: true, Left: 3},
		control.RouteEndStreams:  control.EndStreamsResult{Ended: 3, Cut: 2, Left: 1},
		control.RouteReload:      control.ConfigStatus{Path: "/c"},
		control.RouteUpgrade:     switcher.Record{ID: "op", Kind: switcher.KindUpgrade, Reason: "r"},
		control.RouteReserve: []any{"res", uint64(7),
			"{Kind:deploy Services:[backend] Reason:r Moves:[{Service:backend From:blue To:green FromRelease: ToRelease:r2}]}"},
		control.RouteReserveStep: nil,
		control.RouteReserveEnd:  switcher.Record{ID: "res", Outcome: switcher.Done, Warning: "w"},
	}
	w := serve(t, echo())
	all := calls()
	for _, route := range control.Routes() {
		call, ok := all[route]
		if !ok {
			t.Errorf("the client has no method for %s", route.Path)
			continue
		}
		got, err := call(t.Context(), w.client)
		if err != nil {
			t.Errorf("%s: %v", route.Path, err)
		}
		if diff := gocmp.Diff(want[route], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", route.Path, diff)
		}
	}
}

func TestServerAnswersTheListedRoutesAndNoOther(t *testing.T) {
	s, err := control.NewServer(control.Options{Operations: fake{}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	byPath := func(a, b control.Route) int { return cmp.Compare(a.Path, b.Path) }
	want := slices.SortedFunc(slices.Values(control.Routes()), byPath)
	got := slices.SortedFunc(slices.Values(s.AnsweredRoutes()), byPath)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-listed +answered):\n%s", diff)
	}
}

func TestEveryRouteThatChangesSomethingIsForAdmins(t *testing.T) {
	for _, r := range control.Routes() {
		want := control.Admin
		if r.Method == "GET" {
			want = control.Reader
		}
		if r.Role != want {
			t.Errorf("%s %s is for role %d, want %d", r.Method, r.Path, r.Role, want)
		}
	}
}
