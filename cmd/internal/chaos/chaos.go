package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"charactier-proxy/switcher"
)

// Options say what to run, and for how long.
type Options struct {
	Seed uint64
	// Time is how long faults are dealt; what is under way then is ended first.
	Time time.Duration
	// Daemon and Nginx are programs; App and NginxFiles the folders of the sample
	// app and of nginx's sample files.
	Daemon, Nginx   string
	App, NginxFiles string
	// Dir is an empty directory with a short path, for all that is written. The
	// log of the run stays there as chaos.jsonl.
	Dir string
}

// extra is a service that configurations add and take away.
const extra = "extra"

// world is everything that runs.
type world struct {
	opts     Options
	services []string
	notes    *notes
	model    *model
	slots    map[place]*slot
	disk     *disk
	daemon   *daemon
	nginx    *nginx
	settings settings

	mu      sync.Mutex
	problem error // why the run cannot be judged
	stop    context.CancelFunc
}

// Run breaks things for the time given and judges what happened. An error says
// that there is nothing to judge, because the run itself went wrong.
func Run(ctx context.Context, o Options) (*Report, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := &world{opts: o, services: []string{"backend", "frontend"}, notes: newNotes(), slots: map[place]*slot{}, stop: stop}
	w.model = newModel(w.services)
	err := w.open(ctx)
	if err == nil {
		w.run(ctx)
	}
	sightings := map[string][]sighting{}
	for _, s := range w.slots {
		err = errors.Join(err, s.sightings(sightings))
	}
	err = errors.Join(err, w.problem, w.close(), ctx.Err())
	if err != nil {
		return nil, fmt.Errorf("running chaos with seed %d: %w\n%s", o.Seed, err, w.notes.tail(30))
	}
	return w.report(judge(w.notes, w.model, sightings), sightings)
}

// fail ends the run: something went wrong with what runs it.
func (w *world) fail(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problem = errors.Join(w.problem, err)
	w.stop()
}

// open starts everything.
func (w *world) open(ctx context.Context) (err error) {
	if w.daemon, err = newDaemon(&w.opts, w.services); err != nil {
		return err
	}
	if w.disk, err = openDisk(w.daemon.stateDir()); err != nil {
		return err
	}
	w.settings = settings{FastLane: true}
	for n, service := range w.services {
		s := serviceSettings{Name: service, Listen: w.daemon.addr(n)}
		for slot, address := range map[switcher.Slot]*string{switcher.Blue: &s.Blue, switcher.Green: &s.Green} {
			if *address, err = w.openSlot(ctx, place{service, slot}); err != nil {
				return err
			}
		}
		w.settings.Services = append(w.settings.Services, s)
	}
	if err := w.daemon.configure(w.settings, false); err != nil {
		return err
	}
	if err := w.daemon.start(ctx); err != nil {
		return err
	}
	w.nginx, err = startNginx(ctx, &w.opts, w.daemon.addr(0), w.daemon.addr(1))
	return err
}

// openSlot starts a slot and returns where the daemon finds it.
func (w *world) openSlot(ctx context.Context, at place) (address string, err error) {
	s, err := newSlot(&w.opts, at)
	if err != nil {
		return "", err
	}
	w.slots[at] = s
	return s.link.addrs[0], s.start(ctx)
}

// close ends everything that was opened.
func (w *world) close() (err error) {
	if w.nginx != nil {
		// The master takes its workers along only when it is asked to.
		err = errors.Join(err, w.nginx.stop(patience))
	}
	if w.daemon != nil {
		if w.daemon.process != nil {
			err = errors.Join(err, w.daemon.stop(stopTime+patience))
		}
		err = errors.Join(err, w.daemon.close())
	}
	for _, s := range w.slots {
		if s.process != nil {
			s.kill()
		}
		err = errors.Join(err, s.link.close())
	}
	if w.disk != nil {
		err = errors.Join(err, w.disk.close())
	}
	return err
}

// run lets visitors in, plays the decks and lets everything come to rest.
func (w *world) run(ctx context.Context) {
	v := &visitors{notes: w.notes}
	visiting, leave := context.WithCancel(ctx)
	defer leave()
	v.come(visiting, []door{
		{service: "backend", way: "direct", addr: w.daemon.addr(0)},
		{service: "frontend", way: "direct", addr: w.daemon.addr(1)},
		{service: "backend", way: "nginx", addr: w.nginx.addr},
		{service: "backend", way: "untrusted", addr: w.daemon.addr(0), from: "127.0.0.2"},
	})
	dealing, enough := context.WithTimeout(ctx, w.opts.Time)
	defer enough()
	o := &operator{world: w}
	var all sync.WaitGroup
	for n, t := range tracks {
		all.Go(func() { o.track(dealing, t, rand.New(rand.NewPCG(w.opts.Seed, uint64(n)))) })
	}
	all.Wait()
	w.notes.did("everything is whole again")
	pause(ctx, time.Second) // in which nothing may fail
	leave()
	v.all.Wait()
	if ctx.Err() == nil {
		o.audit()
	}
}

// turn gives a slot its other address.
func (w *world) turn(s *settings, at place) {
	for n := range s.Services {
		if s.Services[n].Name != at.Service {
			continue
		}
		address := &s.Services[n].Blue
		if at.Slot == switcher.Green {
			address = &s.Services[n].Green
		}
		addrs := w.slots[at].link.addrs
		if *address == addrs[0] {
			*address = addrs[1]
		} else {
			*address = addrs[0]
		}
	}
}

// comeOrGo adds the extra service, or takes it away.
func (w *world) comeOrGo(s *settings) {
	if s.Extra != "" {
		s.Extra = ""
		return
	}
	addr, err := freeAddr()
	w.fail(err)
	s.Extra = addr
}
