package systemd

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What proc(5) tells of sockets: those of the caller's network namespace.

// States of <net/tcp_states.h>, as the tables write them.
const (
	tcpEstablished = "01"
	tcpListen      = "0A"
)

// tcpSocket is a line of /proc/net/tcp or tcp6.
type tcpSocket struct {
	local, remote netip.AddrPort
	state, inode  string
}

// tcpListeners are the sockets that answer on an address.
func tcpListeners(address string) (map[string]bool, error) {
	wanted, err := resolveTCP(address)
	if err != nil {
		return nil, err
	}
	found, best := map[string]bool{}, 0
	err = eachTCP(func(s tcpSocket) {
		if s.state != tcpListen {
			return
		}
		fit := 0
		for _, want := range wanted {
			fit = max(fit, fitness(s.local, want))
		}
		if fit > best {
			clear(found)
			best = fit
		}
		if fit > 0 && fit == best {
			found[s.inode] = true
		}
	})
	return found, err
}

// fitness orders the sockets that a connection to want could reach as the
// kernel does: the address itself, the wildcard of its family, and that of
// IPv6, which takes IPv4 too. (Whether it has been told not to, IPV6_V6ONLY, the
// tables do not say.) A wildcard is wanted by who listens on any address.
func fitness(have, want netip.AddrPort) int {
	switch {
	case have.Port() != want.Port():
		return 0
	case have.Addr() == want.Addr():
		return 3
	case want.Addr().IsUnspecified() && (want.Addr().Is6() || have.Addr().Is4()):
		return 3
	case have.Addr() == netip.IPv4Unspecified() && want.Addr().Is4():
		return 2
	case have.Addr() == netip.IPv6Unspecified():
		return 1
	}
	return 0
}

// tcpPeers are the near ends of connections to an address.
func tcpPeers(address string) (map[string]bool, error) {
	wanted, err := resolveTCP(address)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	err = eachTCP(func(s tcpSocket) {
		if s.state == tcpEstablished && slices.Contains(wanted, s.remote) {
			found[s.inode] = true
		}
	})
	return found, err
}

// resolveTCP is what an address may stand for: "localhost" for two. No host is
// the wildcard.
func resolveTCP(address string) (all []netip.AddrPort, err error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q is not a port", portText)
	}
	if host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port))}, nil
	}
	names := []string{host}
	if _, err := netip.ParseAddr(host); err != nil {
		if names, err = net.LookupHost(host); err != nil {
			return nil, err
		}
	}
	for _, name := range names {
		ip, err := netip.ParseAddr(name)
		if err != nil {
			return nil, err
		}
		// The tables know no zones.
		all = append(all, netip.AddrPortFrom(ip.Unmap().WithZone(""), uint16(port)))
	}
	return all, nil
}

// eachTCP goes through both tables. A kernel without IPv6 has only one.
func eachTCP(visit func(tcpSocket)) error {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if errors.Is(err, fs.ErrNotExist) && table != "/proc/net/tcp" {
			continue
		}
		if err != nil {
			return err
		}
		err = readTCP(f, visit)
		f.Close()
		if err != nil {
			return fmt.Errorf("reading %s: %w", table, err)
		}
	}
	return nil
}

func readTCP(table io.Reader, visit func(tcpSocket)) error {
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		// sl local_address rem_address st tx:rx tr:tm->when retrnsmt uid timeout inode
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			return fmt.Errorf("a line has %d fields", len(f))
		}
		local, err := parseTCPAddress(f[1])
		if err != nil {
			return err
		}
		remote, err := parseTCPAddress(f[2])
		if err != nil {
			return err
		}
		visit(tcpSocket{local, remote, f[3], f[9]})
	}
	return lines.Err()
}

// parseTCPAddress reads an address as the kernel prints it: words of 32 bits in
// the machine's order, and the port as a number. IPv4 within IPv6 is IPv4.
func parseTCPAddress(text string) (netip.AddrPort, error) {
	words, portText, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(words)
	port, portErr := strconv.ParseUint(portText, 16, 16)
	if err != nil || portErr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", text)
	}
	for word := range slices.Chunk(raw, 4) {
		binary.BigEndian.PutUint32(word, binary.NativeEndian.Uint32(word))
	}
	ip, ok := netip.AddrFromSlice(raw)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address", text)
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}

// unixListeners are the sockets that listen on a path.
func unixListeners(path string) (map[string]bool, error) {
	f, err := os.Open("/proc/net/unix")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readUnix(f, filepath.Clean(path))
}

func readUnix(table io.Reader, path string) (map[string]bool, error) {
	const accepts = 1 << 16 // __SO_ACCEPTCON, <linux/net.h>
	found := map[string]bool{}
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path; the path may hold spaces.
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue // it has no name
		}
		flags, err := strconv.ParseUint(f[3], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("%q are not the flags of a socket", f[3])
		}
		_, name, _ := strings.Cut(lines.Text(), " "+f[6]+" ")
		if flags&accepts != 0 && filepath.Clean(name) == path {
			found[f[6]] = true
		}
	}
	return found, lines.Err()
}
