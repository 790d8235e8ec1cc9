// Charactier-proxyctl is the operator's command: it looks at the daemon
// charactier-proxy and moves its traffic.
package main

import (
	"context"
	"os"
)

// version is set by the linker.
var version = "devel"

func main() {
	os.Exit(run(context.Background(), newEnv(), os.Args[1:]))
}
