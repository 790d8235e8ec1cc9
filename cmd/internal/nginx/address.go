package nginx

import (
	"net"
	"net/netip"
	"strings"
)

// SameAddress reports whether two addresses, as nginx or we write them, lead to
// the same place. "localhost", the loopback addresses and those that mean any
// are one host here: a slot that listens on one of them is reached by all.
func SameAddress(a, b string) bool {
	if strings.HasPrefix(a, "unix:") || strings.HasPrefix(b, "unix:") {
		return a == b
	}
	hostA, portA := split(a)
	hostB, portB := split(b)
	return portA == portB && (hostA == hostB || isLocal(hostA) && isLocal(hostB))
}

// split returns the host in lower case, and the port, which is 80 by default.
func split(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), "80"
	}
	return strings.ToLower(host), port
}

func isLocal(host string) bool {
	if host == "" || host == "*" || host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsUnspecified())
}

// passAddress is the address within the value of proxy_pass and its kin: an URL
// or an upstream's name, with a path or variables behind it.
func passAddress(value string) string {
	if _, rest, ok := strings.Cut(value, "://"); ok {
		value = rest
	}
	if path, ok := strings.CutPrefix(value, "unix:"); ok {
		path, _, _ = strings.Cut(path, ":")
		return "unix:" + path
	}
	if end := strings.IndexAny(value, "/?$"); end >= 0 {
		value = value[:end]
	}
	return value
}

// exchange is address with what leads it to to: only the port, where that is
// the only difference of from and to.
func exchange(address, from, to string) string {
	host, _ := split(address)
	hostFrom, _ := split(from)
	hostTo, portTo := split(to)
	if strings.HasPrefix(address, "unix:") || strings.HasPrefix(to, "unix:") || hostFrom != hostTo {
		return to
	}
	return net.JoinHostPort(host, portTo)
}

// Reachable is a listener's address as somebody on the same host dials it.
func Reachable(listener string) string {
	if strings.HasPrefix(listener, "unix:") {
		return listener
	}
	host, port := split(listener)
	switch host {
	case "", "*", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
