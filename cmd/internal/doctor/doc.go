// Package doctor looks for what is known to go wrong with a blue-green
// deployment on one machine, and names the command that mends it.
//
// [Gather] asks everybody once and changes nothing: the daemon, systemd, the
// kernel, the slots, nginx, the disks. What it learnt is plain data, the
// [Facts]; what could not be learnt is in there as an error. [Examine] then
// judges the facts by a list of checks, which ask nobody, so that each of them
// is tested by facts with one fault in them.
//
// A check never guesses: what could not be looked at is told as skipped, with
// the reason.
package doctor
