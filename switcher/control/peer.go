package control

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unsafe"

	"golang.org/x/sys/unix"

	"charactier-proxy/switcher"
)

// peer is the process at the other end, as the kernel knew it when it
// connected.
type peer struct {
	known  bool // false: nobody that we know, who may do nothing
	uid    uint32
	pid    int32
	groups []uint32 // primary and supplementary
}

// readPeer asks the kernel who connected. It errs on anything but a unix
// socket.
func readPeer(c net.Conn) (peer, error) {
	sc, ok := c.(*net.UnixConn)
	if !ok {
		return peer{}, fmt.Errorf("reading the peer's credentials: %T is not a unix socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("reading the peer's credentials: %w", err)
	}
	var cred *unix.Ucred
	var groups []uint32
	var credErr, groupsErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		groups, groupsErr = peerGroups(int(fd))
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return peer{}, fmt.Errorf("reading the peer's credentials: %w", err)
	}
	// Before Linux 4.13 there is no SO_PEERGROUPS; the primary group must do.
	if groupsErr != nil && groupsErr != unix.ENOPROTOOPT {
		return peer{}, fmt.Errorf("reading the peer's groups: %w", groupsErr)
	}
	return peer{known: true, uid: cred.Uid, pid: cred.Pid, groups: append(groups, cred.Gid)}, nil
}

// peerGroups reads the supplementary groups (SO_PEERGROUPS, socket(7)); the
// kernel says ERANGE and the wanted size when the buffer is too small.
func peerGroups(fd int) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(len(groups) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(unsafe.SliceData(groups))), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/4], nil
		case unix.ERANGE:
			groups = make([]uint32, max(int(size/4), 2*len(groups)))
		default:
			return nil, errno
		}
	}
}

// in reports whether p is in the group; a nil group has no members.
func (p peer) in(gid *uint32) bool { return gid != nil && slices.Contains(p.groups, *gid) }

// actor names the peer for the history and the audit log. The command line is
// what the process shows of itself: a help to the reader, not a proof.
func (p peer) actor() switcher.Actor {
	return switcher.Actor{UID: p.uid, User: userName(p.uid), PID: p.pid, Command: commandLine(p.pid)}
}

func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// maxCommand bounds the recorded command line, in bytes.
const maxCommand = 256

func commandLine(pid int32) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return printable(string(bytes.ReplaceAll(bytes.TrimRight(raw, "\x00"), []byte{0}, []byte{' '})), maxCommand)
}

// printable makes text safe for a log line and a terminal: one line, no control
// or formatting characters, at most limit bytes.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}
