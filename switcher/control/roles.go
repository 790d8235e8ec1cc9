package control

import (
	"fmt"
	"net/http"
	"os"
	"os/user"
	"strconv"
)

// access decides what a peer may do.
type access struct {
	own         uint32 // the daemon's own user
	admin, read *uint32
	adminGroup  string // names, for those who are turned away
	readGroup   string
}

// newAccess looks the groups up once; empty names are no group.
func newAccess(adminGroup, readGroup string) (access, error) {
	a := access{own: uint32(os.Geteuid()), adminGroup: adminGroup, readGroup: readGroup}
	var err error
	if a.admin, err = groupID(adminGroup); err != nil {
		return access{}, err
	}
	a.read, err = groupID(readGroup)
	return a, err
}

// groupID returns nil for an empty name. A number is taken as it is.
func groupID(name string) (*uint32, error) {
	if name == "" {
		return nil, nil
	}
	id := name
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		g, err := user.LookupGroup(name)
		if err != nil {
			return nil, fmt.Errorf("looking up the group of the control socket: %w", err)
		}
		id = g.Gid
	}
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("looking up the group of the control socket: group %s: %w", name, err)
	}
	gid := uint32(n)
	return &gid, nil
}

// role is what p may do. Root may do everything, and so may the daemon's own
// user, who could write the state file anyway.
func (a access) role(p peer) Role {
	switch {
	case !p.known:
		return None
	case p.uid == 0, p.uid == a.own, p.in(a.admin):
		return Admin
	case p.in(a.read):
		return Reader
	}
	return None
}

// refuse tells a peer which group would let it in.
func (a access) refuse(p peer, have, want Role) error {
	who, group := userName(p.uid), a.adminGroup
	what := who + " may not use the control socket"
	switch {
	case have == Reader:
		what = who + " may look but not change anything"
	case want == Reader && a.readGroup != "":
		group = a.readGroup
	}
	err := fmt.Errorf("%w: %s", ErrForbidden, what)
	if group == "" {
		return hinted{err, askAsRoot}
	}
	return hinted{err, joinGroup(group, who)}
}

// refuseBrowser keeps out what a web page could send through a program that
// forwards to the socket: a request that carries an origin, or one for another
// host (DNS rebinding). No client of ours sends any of it.
func refuseBrowser(r *http.Request) error {
	for name := range r.Header {
		if name == "Origin" || name == "Referer" || len(name) >= 10 && name[:10] == "Sec-Fetch-" {
			return fmt.Errorf("%w: the control socket is not for browsers (%s is set)", ErrForbidden, name)
		}
	}
	switch r.Host {
	case "localhost", "charactier-proxy", "unix":
		return nil
	}
	return fmt.Errorf("%w: Host %q: use localhost", ErrForbidden, printable(r.Host, 100))
}
