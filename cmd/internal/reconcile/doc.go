// Package reconcile makes systemd agree with what the daemon says is active:
// the active slot's unit is enabled and runs, the standby's is disabled, and
// stopped once its warm time is over.
//
// It decides anew each time and remembers nothing, so that it may be run at any
// time and as often as one likes. It never does what could take the traffic
// away: a unit is stopped only if it is the standby's, idle, and nobody is about
// to use it; and if a switch to it slips in all the same, it is started again
// at once, while the daemon holds its requests.
package reconcile
