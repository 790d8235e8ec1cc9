package paths_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"charactier-proxy/cmd/internal/paths"
)

func TestPathsOfTheDaemon(t *testing.T) {
	for name, c := range map[string]struct {
		flags paths.Flags
		env   map[string]string
		uid   int
		want  paths.Paths
	}{
		"root without anything uses the system's places": {
			want: paths.Paths{Config: paths.SystemConfig, StateDir: paths.SystemStateDir, Socket: paths.SystemSocket},
		},
		"under systemd the directories that the unit was given win, the first of a list": {
			env:  map[string]string{"STATE_DIRECTORY": "/var/lib/cp:/var/lib/other", "RUNTIME_DIRECTORY": "/run/cp:/run/other"},
			uid:  990,
			want: paths.Paths{Config: paths.SystemConfig, StateDir: "/var/lib/cp", Socket: "/run/cp/control.sock"},
		},
		"a user keeps everything below their own directories": {
			env:  map[string]string{"XDG_STATE_HOME": "/home/u/state", "XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/u"},
			uid:  1000,
			want: paths.Paths{Config: paths.SystemConfig, StateDir: "/home/u/state/charactier-proxy", Socket: "/run/user/1000/charactier-proxy/control.sock"},
		},
		"a user without XDG directories gets the socket beside the state, never below /tmp": {
			env:  map[string]string{"HOME": "/home/u"},
			uid:  1000,
			want: paths.Paths{Config: paths.SystemConfig, StateDir: "/home/u/.local/state/charactier-proxy", Socket: "/home/u/.local/state/charactier-proxy/control.sock"},
		},
		"a relative XDG directory is ignored, as its specification says": {
			env:  map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run"},
			uid:  1000,
			want: paths.Paths{Config: paths.SystemConfig, StateDir: "/home/u/.local/state/charactier-proxy", Socket: "/home/u/.local/state/charactier-proxy/control.sock"},
		},
		"the environment beats the default": {
			env:  map[string]string{paths.EnvConfig: "/e/c", paths.EnvStateDir: "/e/s", paths.EnvSocket: "/e/k", "STATE_DIRECTORY": "/no", "RUNTIME_DIRECTORY": "/no"},
			want: paths.Paths{Config: "/e/c", ConfigNamed: true, StateDir: "/e/s", Socket: "/e/k"},
		},
		"a flag beats the environment": {
			flags: paths.Flags{Config: "/f/c", StateDir: "/f/s", Socket: "/f/k"},
			env:   map[string]string{paths.EnvConfig: "/e/c", paths.EnvStateDir: "/e/s", paths.EnvSocket: "/e/k"},
			want:  paths.Paths{Config: "/f/c", ConfigNamed: true, StateDir: "/f/s", Socket: "/f/k"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := paths.ForDaemon(c.flags, func(k string) string { return c.env[k] }, c.uid)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("paths (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClientOfAUserFindsItsOwnDaemonFirstAndTheSystemsElse(t *testing.T) {
	home := t.TempDir()
	env := map[string]string{"XDG_RUNTIME_DIR": filepath.Join(home, "run"), "XDG_STATE_HOME": filepath.Join(home, "state")}
	getenv := func(k string) string { return env[k] }

	got := paths.ForClient(paths.Flags{}, getenv, 1000)
	if got.Socket != paths.SystemSocket || got.StateDir != paths.SystemStateDir {
		t.Errorf("without an own daemon: got %+v, want the system's places", got)
	}

	own := paths.ForDaemon(paths.Flags{}, getenv, 1000)
	for _, dir := range []string{filepath.Dir(own.Socket), own.StateDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(own.Socket, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(own, paths.ForClient(paths.Flags{}, getenv, 1000)); diff != "" {
		t.Errorf("with an own daemon (-want +got):\n%s", diff)
	}
}
