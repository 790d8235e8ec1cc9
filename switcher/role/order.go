package role

import (
	"context"
	"errors"
	"time"

	"charactier-proxy/switcher"
)

// Role is what a slot is to do.
type Role string

// The roles.
const (
	Active  Role = "active"  // run everything
	Standby Role = "standby" // answer requests, and run nothing that must run once
)

// Order is what a slot is told.
type Order struct {
	Role    Role          `json:"role"`
	Service string        `json:"service"`
	Slot    switcher.Slot `json:"slot"`
	Release string        `json:"release,omitempty"`
	// Generation is that of the state in which the active slot became active. An
	// order of a lower one than was seen already is out of date.
	Generation uint64 `json:"generation"`
}

// Way is one way to tell a slot. Tell returns nil once the order was taken; it
// returns when ctx ends, and may be called again with the same order at any
// time. An error that wraps [ErrNobody] says that there is no process that could
// have a role.
type Way interface {
	Tell(ctx context.Context, o Order) error
}

// ErrNobody is wrapped by errors that say that no process was there to be told.
var ErrNobody = errors.New("nobody listens")

// Wanted is what the switcher's state asks for.
type Wanted struct {
	Active     switcher.Slot
	Generation uint64
}

// Status is what is known of one slot's role.
type Status struct {
	Wanted Role
	// WantedSince is when that became so.
	WantedSince time.Time
	// Told is what the slot took last, and Since when; empty if its process took
	// nothing yet, or took the wanted role at an earlier time and not again.
	Told  Role
	Since time.Time
	// Err is why the newest attempt failed; nil if it did not.
	Err error
}

// Taken reports whether the slot has the role that it should have.
func (s Status) Taken() bool { return s.Told == s.Wanted }
