// Package charactierproxy holds no code, only the picture of the house and the
// test that keeps it (layout_test.go).
//
//	cmd/charactier-proxy       wires and runs the daemon
//	cmd/charactier-proxyctl    the operator's command, one file per verb
//	cmd/internal               config file, doctor, logs, nginx, load generator, benchmark, test worlds
//	switcher/control           the API over the unix socket
//	switcher/deploy            the pipeline: steps forward and back, journal, releases
//	switcher/bake              is the new slot as good as the old one was
//	switcher/role              telling slots whether they are active
//	proxy                      the data path: claim, forward, count, release
//	switcher                   which slot is active, and remembering it
//	health                     is this address healthy
//	systemd                    what we say to systemd: notify, sockets, units over D-Bus
//
// A floor imports only floors below it and neighbours never import each other:
// cmd joins them. So the data path cannot know the control plane, nor the
// reverse.
package charactierproxy
