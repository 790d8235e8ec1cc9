// Package logs reads what the units of the slots and the deploys have written,
// as one sequence in the order of time, up to now and from now on.
//
// The journal is read by journalctl, which knows its format and whom it may
// show to; it runs beside us and ends with us, however we end. The order of one
// source is never changed: lines of several are put between each other by their
// time, as far as they arrive within a moment.
package logs
