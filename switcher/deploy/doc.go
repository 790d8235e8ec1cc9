// Package deploy is the way from a revision to live traffic, and back: a
// pipeline of steps, each with a way forward and a way back, written down in a
// journal before and after, so that whatever ends it in between leaves traffic
// where it was or fully moved.
//
// # The steps
//
//	preflight  what is asked for, and may it begin
//	fetch      the revision, or an artifact, in a directory of its own
//	build      the configured commands; then the release is sealed for ever
//	point      the standby slot's unit is stopped, its link led to the release
//	start      the unit
//	gate       it is healthy, and the process that answers is the unit's
//	smoke      the requests that it must answer
//	warm-up    the requests that make it warm
//	switch     a reboot starts both slots; the daemon's transaction; the roles
//	drain      the old slot's requests end
//	bake       the daemon compares; it returns the traffic by itself
//	confirm    a person says yes
//	enable     a reboot starts the new slot and not the old one
//	retire     the old slot's unit is stopped, unless it stays warm for a while
//	prune      releases that nobody needs
//
// # What a failure means
//
// Up to and including confirm, a step that fails has everything before it
// undone in reverse: traffic is where it was. From enable on the deploy counts;
// what fails there is a warning, and the mending command is named.
//
// # What a crash means
//
// The next command finds the journal without an end ([Unfinished]). If
// the daemon says that traffic is on the new slots, the deploy is resumed;
// otherwise it is undone. Both can be done again and again: every step looks
// before it does, and doing it twice is doing it once.
//
// # Who may run it
//
// One at a time: a lock file among processes, and a reservation at the daemon
// among all who may move traffic (S4). A lost reservation is taken again; where
// that is not possible the step fails.
//
// Invariants of the daemon (S1 to S5) are kept by asking nothing of it but its
// own transactions.
package deploy
