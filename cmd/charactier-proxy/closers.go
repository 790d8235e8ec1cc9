package main

import (
	"errors"
	"fmt"
	"net"
)

// closer closes one thing that the daemon has opened.
type closer struct {
	name  string
	close func() error
}

// onClose remembers what to close when the daemon ends.
func (d *daemon) onClose(name string, do func() error) {
	d.closers = append(d.closers, closer{name, do})
}

// close closes in reverse order of opening, whatever fails.
func (d *daemon) close() error {
	var all []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		if err := d.closers[i].close(); err != nil {
			all = append(all, fmt.Errorf("closing the %s: %w", d.closers[i].name, err))
		}
	}
	d.closers = nil
	return errors.Join(all...)
}

// ignoreClosed is for what its server may have closed already.
func ignoreClosed(closeIt func() error) func() error {
	return func() error {
		if err := closeIt(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}
