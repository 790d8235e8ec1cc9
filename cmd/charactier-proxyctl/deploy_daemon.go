package main

import (
	"context"
	"strings"
	"time"

	"charactier-proxy/switcher"
	"charactier-proxy/switcher/control"
	"charactier-proxy/switcher/deploy"
)

// deployDaemon is the daemon as a deploy sees it.
type deployDaemon struct{ client *control.Client }

// View asks the daemon for its status.
func (d deployDaemon) View(ctx context.Context) (deploy.View, error) {
	status, err := d.client.Status(ctx)
	if err != nil {
		return deploy.View{}, err
	}
	v := deploy.View{Services: map[string]deploy.ServiceView{}, Moving: status.Operation != nil}
	for _, s := range status.Services {
		v.Services[s.Name] = serviceView(s)
	}
	return v, nil
}

func serviceView(s control.ServiceStatus) deploy.ServiceView {
	v := deploy.ServiceView{Active: s.Active, Held: s.Held != nil, Bake: s.Bake, Bad: s.BadReleases, Slots: map[switcher.Slot]deploy.SlotView{}}
	for _, slot := range s.Slots {
		view := deploy.SlotView{
			Healthy: slot.Health.State == healthy, Health: slot.Health.Error, InFlight: slot.InFlight,
			Streams: slot.Streams, StreamsUntil: slot.StreamsUntil,
		}
		if slot.Role != nil {
			view.Role, view.Wanted, view.RoleError = slot.Role.Told, slot.Role.Wanted, slot.Role.Error
		}
		v.Slots[slot.Name] = view
	}
	return v
}

// EndStreams ends the streams of a slot that is not active.
func (d deployDaemon) EndStreams(ctx context.Context, service string, slot switcher.Slot) (ended, cut int64, err error) {
	r, err := d.client.EndStreams(ctx, control.EndStreamsRequest{Service: service, Slot: slot})
	return r.Ended, r.Cut, err
}

// Reserve keeps others from moving traffic.
func (d deployDaemon) Reserve(ctx context.Context, kind switcher.Kind, services []string, reason string) (deploy.Lease, error) {
	// It lasts as long as the deploy, which must be able to undo after ctx. That
	// ends the asking only.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	asking := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	r, err := d.client.Reserve(life, control.ReserveRequest{Kind: kind, Services: services, Reason: reason})
	asking()
	if err != nil {
		end(nil)
		return nil, err
	}
	return deployLease{r, d.client}, nil
}

type deployLease struct {
	*control.Reservation
	client *control.Client
}

func (l deployLease) Step(ctx context.Context, step, text string) error {
	return l.Reservation.Step(ctx, step, text, "")
}

func (l deployLease) Move(ctx context.Context, kind switcher.Kind, services []string, bake time.Duration, reason string) (switcher.Record, error) {
	move := l.client.Switch
	if kind == switcher.KindRollback {
		move = l.client.Rollback
	}
	return move(ctx, control.SwitchRequest{Services: services, Reason: inHistory(reason, control.MaxReason), Drain: -1, Bake: bake, Within: l.Reservation.ID})
}

func (l deployLease) End(ctx context.Context, r switcher.Record, exonerate []string) error {
	r.Error, r.Warning = inHistory(r.Error, control.MaxText), inHistory(r.Warning, control.MaxText)
	_, err := l.Reservation.End(ctx, r, exonerate...)
	return err
}

// inHistory makes one line of a text, of no more bytes than the history takes:
// that a deploy ended must be told, whatever a unit or a hook said last.
func inHistory(text string, limit int) string {
	const cut = "..."
	text = clean(text)
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit-len(cut)], "") + cut
}

// lettingGo bounds the wait for the daemon to see that we have gone.
const lettingGo = 2 * time.Second

// Close lets go and waits until the daemon has seen it: whoever types the next
// command once this one has ended must not be told that it still runs.
func (l deployLease) Close() {
	l.Reservation.Close()
	awaitUnreserved(l.client, l.Reservation.ID)
}

func awaitUnreserved(client *control.Client, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), lettingGo)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := client.Status(ctx)
		if err != nil || status.Reservation == nil || status.Reservation.ID != id {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
