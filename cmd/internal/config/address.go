package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// maxUnixPath is what fits into sun_path with its final zero (unix(7)).
const maxUnixPath = 107

// Network splits an address of the file into what [net.Listen] and [net.Dial]
// want: "unix:/path" and "host:port" are the two forms.
func Network(address string) (network, rest string) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return "unix", path
	}
	return "tcp", address
}

// checkAddress says what is wrong with an address of either form. The host and
// the port are checked only if there are any.
func checkAddress(address string, checkHost func(string) error, minPort int) error {
	network, rest := Network(address)
	if network == "unix" {
		return checkUnixPath(rest)
	}
	if strings.Contains(address, "://") {
		return fmt.Errorf("%q is a URL", address)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		var reason *net.AddrError
		if errors.As(err, &reason) {
			err = errors.New(reason.Err)
		}
		return fmt.Errorf("%q: %w", address, err)
	}
	if err := checkHost(host); err != nil {
		return fmt.Errorf("%q: %w", address, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || int(n) < minPort {
		return fmt.Errorf("%q: port %q is not a number from %d to 65535", address, port, minPort)
	}
	return nil
}

func checkUnixPath(path string) error {
	switch {
	case !filepath.IsAbs(path):
		return fmt.Errorf("the socket's path %q does not begin with a slash", path)
	case len(path) > maxUnixPath:
		return fmt.Errorf("the socket's path has %d bytes, the system allows %d", len(path), maxUnixPath)
	}
	return nil
}

// localHost accepts what a listener can be bound to without asking DNS.
func localHost(host string) error {
	if host == "" || host == "localhost" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%q is not an IP address", host)
	}
	return nil
}

// remoteHost accepts what a slot can be reached at.
func remoteHost(host string) error {
	if host == "" {
		return errors.New("the host is missing")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notHostChar) {
			return fmt.Errorf("%q is neither an IP address nor a host name", host)
		}
	}
	return nil
}

func notHostChar(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}

// overlap says whether two addresses may stand for the same socket of this
// machine: equal, or with one port and hosts of which one includes the other.
func overlap(a, b string) bool {
	networkA, restA := Network(a)
	networkB, restB := Network(b)
	if networkA != networkB {
		return false
	}
	if networkA == "unix" {
		return filepath.Clean(restA) == filepath.Clean(restB)
	}
	hostA, portA, errA := net.SplitHostPort(restA)
	hostB, portB, errB := net.SplitHostPort(restB)
	if errA != nil || errB != nil || !samePort(portA, portB) {
		return false
	}
	return sameHost(hostA, hostB)
}

// samePort compares numbers; port 0 is a different one each time.
func samePort(a, b string) bool {
	x, errA := strconv.ParseUint(a, 10, 16)
	y, errB := strconv.ParseUint(b, 10, 16)
	return errA == nil && errB == nil && x == y && x != 0
}

func sameHost(a, b string) bool {
	if strings.EqualFold(a, b) || a == "" || b == "" {
		return true
	}
	x, y := hostAddr(a), hostAddr(b)
	return x == y && x.IsValid() || x.IsUnspecified() || y.IsUnspecified()
}

// hostAddr reads localhost as what it is nearly everywhere.
func hostAddr(host string) netip.Addr {
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// isLoopback says whether only this machine can reach the address.
func isLoopback(address string) bool {
	network, rest := Network(address)
	if network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(rest)
	return err == nil && hostAddr(host).IsLoopback()
}
