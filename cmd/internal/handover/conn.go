package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds a message, and maxFiles what comes along with one, which is
// what the kernel allows.
const (
	maxMessage = 64 << 10
	maxFiles   = 253
)

// Message is what the other process said. The files are the receiver's to close.
type Message struct {
	Kind  string
	Body  json.RawMessage
	Files []*os.File
}

// Decode reads the message's body.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.Body, v); err != nil {
		return fmt.Errorf("reading the message %q: %w", m.Kind, err)
	}
	return nil
}

// Close closes the files.
func (m Message) Close() {
	for _, f := range m.Files {
		f.Close()
	}
}

// Conn is one end. Its methods may be called by several goroutines at once.
type Conn struct {
	unix *net.UnixConn
}

type envelope struct {
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body,omitempty"`
}

// pair returns our end and the descriptor of the other.
func pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "successor")
	ours, err := open(os.NewFile(uintptr(fds[0]), "predecessor"))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// open makes a Conn of a descriptor, which it closes.
func open(f *os.File) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no unix socket", f.Name()), c.Close())
	}
	return &Conn{unix: u}, nil
}

// Send sends a message with copies of the descriptors.
func (c *Conn) Send(kind string, body any, fds ...int) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the message %q: %w", kind, err)
	}
	packet, err := json.Marshal(envelope{kind, raw})
	if err != nil {
		return fmt.Errorf("encoding the message %q: %w", kind, err)
	}
	if len(packet) > maxMessage || len(fds) > maxFiles {
		return fmt.Errorf("the message %q is too large: %d bytes, %d files", kind, len(packet), len(fds))
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if _, _, err := c.unix.WriteMsgUnix(packet, rights, nil); err != nil {
		return fmt.Errorf("sending the message %q: %w", kind, err)
	}
	return nil
}

// Receive waits for a message. The error is io.EOF once the other process has
// closed its end or ended.
func (c *Conn) Receive() (Message, error) {
	packet := make([]byte, maxMessage)
	rights := make([]byte, unix.CmsgSpace(maxFiles*4))
	n, got, flags, _, err := c.unix.ReadMsgUnix(packet, rights)
	if errors.Is(err, syscall.ECONNRESET) {
		// It has ended without reading all that we said. The kernel tells that before
		// what it has said itself, once.
		n, got, flags, _, err = c.unix.ReadMsgUnix(packet, rights)
	}
	if err != nil {
		return Message{}, err
	}
	files, err := filesOf(rights[:got])
	m := Message{Files: files}
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("a message was cut short")
	}
	var e envelope
	if err == nil {
		err = json.Unmarshal(packet[:n], &e)
	}
	if err != nil {
		m.Close()
		return Message{}, fmt.Errorf("receiving a message: %w", err)
	}
	m.Kind, m.Body = e.Kind, e.Body
	return m, nil
}

func filesOf(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

// SetDeadline bounds Send and Receive; zero means no bound.
func (c *Conn) SetDeadline(t time.Time) error { return c.unix.SetDeadline(t) }

// Close ends the connection.
func (c *Conn) Close() error { return c.unix.Close() }

// Peer is the process at the other end at the time when the pair was made: for
// the successor, the one that started it.
func (c *Conn) Peer() (int, error) {
	raw, err := c.unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, failed); err != nil {
		return 0, fmt.Errorf("asking who is at the other end: %w", err)
	}
	return int(cred.Pid), nil
}

// Duplicate returns a descriptor of its own of what s holds, for Send. The caller
// closes it.
func Duplicate(s syscall.Conn) (fd int, err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failed error
	err = raw.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return -1, fmt.Errorf("duplicating a descriptor: %w", err)
	}
	return fd, nil
}
