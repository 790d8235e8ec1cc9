// Charactier-proxy is the daemon: the reverse proxy in front of each service's
// two slots, with their health, the state and the control socket. It is
// operated by charactier-proxyctl.
package main

import (
	"context"
	"os"
)

// version is set by the linker.
var version = "devel"

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}
