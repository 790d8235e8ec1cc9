// Package charactierproxy holds no code, only the picture of the house and the
// test that keeps it (layout_test.go).
//
//	cmd/charactier-proxy       wires and runs the daemon
//	cmd/charactier-proxyctl    the operator's command, one file per verb
//	cmd/internal               config file, load generator, test worlds
//	switcher/control           the API over the unix socket
//	proxy                      the data path: claim, forward, count, release
//	switcher                   which slot is active, and remembering it
//	health                     is this address healthy
//	systemd                    what we say to systemd
//
// A floor imports only floors below it and neighbours never import each other:
// cmd joins them. So the data path cannot know the control plane, nor the
// reverse.
package charactierproxy
