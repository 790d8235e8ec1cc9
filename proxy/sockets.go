package proxy

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// These calls never wait, so the scheduler is not told that they might, which is
// up to a third of what a small one costs; and they are those for sockets, since
// read and write go through what files need. Together that spares a tenth of a
// small request. They are for short reads and writes: for as long as one takes, its
// processor runs no other goroutine.

// readSocket reads what there is; EAGAIN says that there is nothing yet, zero that
// nothing more will come. b must not be empty, here and below.
func readSocket(fd uintptr, b []byte) (int, error) {
	return socketCall(unix.SYS_RECVFROM, fd, b, unix.MSG_DONTWAIT)
}

// writeSocket writes what the socket takes.
func writeSocket(fd uintptr, b []byte) (int, error) {
	return socketCall(unix.SYS_SENDTO, fd, b, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// silentSocket reports whether there is nothing to read from a socket, not even
// its end. Peeking costs half of what poll does.
func silentSocket(fd uintptr) bool {
	var b [1]byte
	_, err := socketCall(unix.SYS_RECVFROM, fd, b[:], unix.MSG_DONTWAIT|unix.MSG_PEEK)
	return err == unix.EAGAIN
}

func socketCall(call, fd uintptr, b []byte, flags uintptr) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), flags, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
