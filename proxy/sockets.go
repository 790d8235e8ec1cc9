package proxy

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockets are never blocking here, so these return at once, and telling the
// scheduler that a call may block costs a third of a small one. They are for short
// reads and writes: for as long as one takes, its processor runs no other
// goroutine.

// readSocket reads what there is; EAGAIN says that there is nothing yet, zero that
// nothing more will come.
func readSocket(fd uintptr, b []byte) (int, error) {
	return socketCall(unix.SYS_READ, fd, b)
}

// writeSocket writes what the socket takes.
func writeSocket(fd uintptr, b []byte) (int, error) {
	return socketCall(unix.SYS_WRITE, fd, b)
}

// socketCall needs b not to be empty.
func socketCall(call, fd uintptr, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// silentSocket reports whether there is nothing to read from a socket, not even
// its end. Peeking costs half of what poll does.
func silentSocket(fd uintptr) bool {
	var b [1]byte
	_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return errno == unix.EAGAIN
}
