// Package chaos breaks the programs at random under load of all kinds, and
// judges afterwards whether anything happened that must not: it is the test of
// the promises P1 to P5 and S1 to S5 together, where every other test looks at
// one of them.
//
// Three tracks act at the same time, each dealt from a shuffled deck, so that a
// seed repeats the sequence of what each does: one operates (switches, holds,
// reloads, restarts of the daemon), one breaks slots, one breaks the way to the
// slots and the disk below the state. Visitors send requests all the while, each
// with an id that the slots write down when it arrives. Everybody notes when
// they began something and when it had ended, by the machine's monotonic clock,
// which Go and Node share.
//
// The judge looks at these notes only, and only at the order of events: a slot
// may have served from the moment a switch to it was asked for to the moment
// one away from it had been answered. A request may have failed if a fault
// overlaps it that the rules allow to cause what its client saw; whatever else
// failed is a violation.
//
// What is allowed is the table in rules.go, what is done the one in deck.go: a
// new fault or a new promise is a row there.
package chaos
