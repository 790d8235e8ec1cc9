// Package systemd is what the daemon says to systemd and takes from it:
// readiness and status ([Notifier]), the watchdog ([Notifier.Watchdog]) and
// inherited listening sockets ([Listeners]). The units that this module ships
// lie in its folder units.
//
// # Promise
//
//   - Outside systemd everything here is silent and costs nothing: the same
//     program runs in a terminal.
//   - The watchdog is told the truth: it is pinged only right after the caller's
//     own check has passed.
//   - An inherited socket keeps listening when its listener is closed, so a
//     connection that arrives while nobody accepts waits for the next one who
//     does, be it after a reload or after a crash.
//
// # Who starts and stops what
//
// Nothing here starts a goroutine. [Notifier.Watchdog] blocks; the caller
// writes go. The environment variables are read as sd_notify(3),
// sd_watchdog_enabled(3) and sd_listen_fds(3) say.
package systemd
