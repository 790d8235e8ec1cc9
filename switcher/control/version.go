package control

import "runtime/debug"

// apiVersion grows when a route changes its meaning; new routes and fields do
// not change it.
const apiVersion = 1

// Build tells which build this program is. release is the number that the
// release's build was given; without one the build's own information counts.
func Build(release string) Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version{Version: release, API: apiVersion}
	}
	v := Version{Version: release, Go: info.GoVersion, API: apiVersion}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	return v
}
