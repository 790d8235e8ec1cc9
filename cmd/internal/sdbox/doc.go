// Package sdbox boots throw-away machines for tests: systemd-nspawn with a real
// systemd as process 1 over the host's own /usr, in about a second and with
// nothing downloaded. The box's /etc and /var are empty directories that
// survive [Box.Reboot] and [Box.Crash]; all else is lost with each boot. It has
// a network of its own with nothing but a loopback, so every box may use the
// same ports.
//
// It needs root, and on Debian the packages systemd, systemd-container, dbus
// and util-linux; what is missing fails the test by name.
//
// What a box cannot show: cgroup limits are accepted and not enforced, unsynced
// writes survive a crash (they lie in the host's page cache), the clock is the
// host's.
package sdbox
