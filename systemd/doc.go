// Package systemd is what we say to systemd and take from it: readiness and
// status ([Notifier]), the watchdog ([Notifier.Watchdog]), inherited listening
// sockets ([Listeners]), units and the processes of a command over D-Bus
// ([Units]), and who listens on an address ([ListenerOf]). The units that this
// module ships lie in its folder units.
//
// # Promise
//
//   - Outside systemd the Notifier and the Listeners are silent and cost
//     nothing: the same program runs in a terminal.
//   - The watchdog is told the truth: it is pinged only right after the caller's
//     own check has passed.
//   - An inherited socket keeps listening when its listener is closed, so a
//     connection that arrives while nobody accepts waits for the next one who
//     does, be it after a reload or after a crash.
//   - A change of a unit wakes those who follow it: they listen before they look.
//   - A job's result is that job's: what others do with the unit meanwhile is
//     told as such.
//   - A command's end is the end of all its processes, whatever ended it.
//
// # Who starts and stops what
//
// [Notifier.Watchdog], [Units.Follow], [Units.AwaitExit] and [Units.Run] block;
// the caller writes go. Only the two connections of [Units] are read by
// goroutines of the D-Bus library, until [Units.Close]. The environment
// variables are read as sd_notify(3), sd_watchdog_enabled(3) and
// sd_listen_fds(3) say.
package systemd
