// Package paths decides where the configuration, the state and the control
// socket are. Both programs ask it, so that they agree without being told.
//
// A flag beats the environment, the environment beats the default. The default
// for root, and under systemd, is the system's place; for any other user it is
// below that user's own directories, so that an installation tried out without
// root never meets the real one.
package paths

import (
	"os"
	"path/filepath"
	"strings"

	"charactier-proxy/switcher/control"
)

// The environment variables that stand in for the flags.
const (
	EnvConfig   = "CHARACTIER_PROXY_CONFIG"
	EnvStateDir = "CHARACTIER_PROXY_STATE_DIR"
	EnvSocket   = "CHARACTIER_PROXY_SOCKET"
)

// Where the system's daemon keeps its things.
const (
	SystemConfig   = "/etc/charactier-proxy/config.yaml"
	SystemStateDir = "/var/lib/charactier-proxy"
	SystemSocket   = control.DefaultSocket
)

const (
	program    = "charactier-proxy"
	socketName = "control.sock"
)

// Flags are the values given on the command line; empty means not given.
type Flags struct{ Config, StateDir, Socket string }

// Paths is the answer.
type Paths struct {
	Config string
	// ConfigNamed says that a flag or the environment named Config: then it must
	// exist, whereas a missing default means the built-in configuration.
	ConfigNamed bool
	StateDir    string
	Socket      string
}

// ForDaemon resolves the paths of the process that owns them. getenv is
// os.Getenv, uid the effective user.
func ForDaemon(f Flags, getenv func(string) string, uid int) Paths {
	config := first(f.Config, getenv(EnvConfig))
	stateDir := first(f.StateDir, getenv(EnvStateDir), ownStateDir(getenv, uid))
	return Paths{
		Config:      first(config, SystemConfig),
		ConfigNamed: config != "",
		StateDir:    stateDir,
		Socket:      first(f.Socket, getenv(EnvSocket), ownSocket(getenv, uid, stateDir)),
	}
}

// ForClient is ForDaemon but for one thing: a user without a daemon of their
// own means the system's, so that a member of its group need not name it.
func ForClient(f Flags, getenv func(string) string, uid int) Paths {
	p := ForDaemon(f, getenv, uid)
	if uid == 0 {
		return p
	}
	if first(f.Socket, getenv(EnvSocket)) == "" && !exists(p.Socket) {
		p.Socket = SystemSocket
	}
	if first(f.StateDir, getenv(EnvStateDir)) == "" && !exists(p.StateDir) {
		p.StateDir = SystemStateDir
	}
	return p
}

// ownStateDir follows systemd's StateDirectory=, which may list several, and
// for a plain user the XDG base directories.
func ownStateDir(getenv func(string) string, uid int) string {
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if uid == 0 {
		return SystemStateDir
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program)
	}
	return filepath.Join(getenv("HOME"), ".local", "state", program)
}

// ownSocket falls back to the state directory where a user has no runtime
// directory: a name below /tmp could be taken by somebody else first.
func ownSocket(getenv func(string) string, uid int, stateDir string) string {
	if dir, _, _ := strings.Cut(getenv("RUNTIME_DIRECTORY"), ":"); dir != "" {
		return filepath.Join(dir, socketName)
	}
	if uid == 0 {
		return SystemSocket
	}
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program, socketName)
	}
	return filepath.Join(stateDir, socketName)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// exists is false only where the path is known to be missing: one that may not
// be looked at is there.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !os.IsNotExist(err)
}
