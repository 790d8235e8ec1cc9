package systemd

import (
	"slices"
	"sync"

	"github.com/godbus/dbus/v5"
)

// bell rings for those who wait for a unit, or its file, to change. It takes the signals of
// a connection before everybody else: a ring is never queued behind others and
// never lost, and it carries nothing, so that who is slow hears one for many.
type bell struct {
	signalQueue // what go-systemd reads the ends of jobs from

	mu      sync.Mutex
	waiting map[dbus.ObjectPath][]chan struct{}
}

// signalQueue is all that a connection may want of its signal handler.
type signalQueue interface {
	dbus.SignalHandler
	dbus.SignalRegistrar
	dbus.Terminator
}

func newBell() *bell {
	return &bell{
		signalQueue: dbus.NewSequentialSignalHandler().(signalQueue),
		waiting:     map[dbus.ObjectPath][]chan struct{}{},
	}
}

// DeliverSignal is called by the goroutine that reads the connection.
func (b *bell) DeliverSignal(iface, name string, signal *dbus.Signal) {
	if iface != propertiesInterface {
		if iface == managerInterface && isAboutFiles(name, signal.Body) {
			b.ringAll()
		}
		b.signalQueue.DeliverSignal(iface, name, signal)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	ring(b.waiting[signal.Path])
}

// fileSignals are those by which systemd tells that units may have been enabled
// or disabled, which no unit tells itself: once that has happened, and once
// systemd has read its files anew, before which it may answer as it did.
func fileSignals() []string { return []string{"UnitFilesChanged", "Reloading"} }

func isAboutFiles(name string, body []any) bool {
	switch name {
	case "UnitFilesChanged":
		return true
	case "Reloading": // with whether it begins
		return len(body) == 1 && body[0] == false
	}
	return false
}

func (b *bell) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, all := range b.waiting {
		ring(all)
	}
}

func ring(all []chan struct{}) {
	for _, rung := range all {
		select {
		case rung <- struct{}{}:
		default: // it rings already
		}
	}
}

// listen returns a channel that gets something after each change of path.
func (b *bell) listen(path dbus.ObjectPath) (rung chan struct{}) {
	rung = make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[path] = append(b.waiting[path], rung)
	return rung
}

func (b *bell) leave(path dbus.ObjectPath, rung chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[path] = slices.DeleteFunc(b.waiting[path], func(c chan struct{}) bool { return c == rung })
	if len(b.waiting[path]) == 0 {
		delete(b.waiting, path)
	}
}
