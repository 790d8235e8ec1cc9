package proxy

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// spliceFrom is the length from which on a pipe costs less than the copying that
// it saves, and how much it holds at most. (Larger ones are faster still, but each
// user has no more than 64 MiB of them before the kernel makes them tiny.)
const spliceFrom = 256 << 10

var errNoSplice = errors.New("these sockets cannot be spliced")

// splicePipe moves bytes from one socket to another within the kernel. Unlike
// [io.Copy], which does the same, it tells which of the two failed, and each wait
// has a deadline of its own.
type splicePipe struct {
	r, w int // its ends

	most int // how much the next move may move
	n    int // how much it did
	err  error
}

// pipe returns a pipe where the body may be spliced and is worth it, else nil.
func (l *laneConn) pipe() *splicePipe {
	_, from := l.conn.Conn.(*net.TCPConn)
	_, to := l.work.slot.Conn.(*net.TCPConn)
	if !from || !to || l.work.bodyLeft < spliceFrom {
		return nil
	}
	var ends [2]int
	if unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	unix.FcntlInt(uintptr(ends[1]), unix.F_SETPIPE_SZ, spliceFrom) //nolint:errcheck // a smaller one does as well
	return &splicePipe{r: ends[0], w: ends[1]}
}

func (p *splicePipe) close() {
	unix.Close(p.r) //nolint:errcheck // nothing is lost with it
	unix.Close(p.w) //nolint:errcheck // nothing is lost with it
}

// uploadSpliced is uploadSized without copying. It returns errNoSplice, and has
// done nothing, where the kernel does not take part.
func (l *laneConn) uploadSpliced(p *splicePipe) error {
	x := &l.work.laneExchange
	fill, drain := p.fill, p.drain
	for first := true; x.bodyLeft > 0; first = false {
		p.most = int(min(x.bodyLeft, spliceFrom))
		err := l.fill(p, fill)
		switch {
		case err == nil && p.n == 0:
			return bodyFault(io.EOF)
		case first && (p.err == unix.EINVAL || p.err == unix.ENOSYS || p.err == unix.EPERM):
			return errNoSplice
		case err != nil:
			return bodyFault(err)
		}
		l.cameFromClient(p.n)
		if err := x.drain(p, drain); err != nil {
			return err
		}
	}
	return nil
}

// fill moves into the pipe what there is from the client.
func (l *laneConn) fill(p *splicePipe, fill func(fd uintptr) bool) error {
	for since := time.Now(); ; {
		if err := l.boundUpload(); err != nil {
			return err
		}
		if err := errors.Join(l.conn.raw.Read(fill), p.err); err == nil || !l.wokenUp(since, err) {
			return err
		}
	}
}

// drain writes to the slot what the pipe holds.
func (x *laneExchange) drain(p *splicePipe, drain func(fd uintptr) bool) error {
	for p.most = p.n; p.most > 0; p.most -= p.n {
		x.boundSlotWrite(time.Now())
		if err := errors.Join(x.slot.raw.Write(drain), p.err); err != nil {
			return ioError("sending the request", causeStalled, err)
		}
		x.slot.wrote += int64(p.n)
	}
	return nil
}

func (p *splicePipe) fill(fd uintptr) bool  { return p.move(int(fd), p.w) }
func (p *splicePipe) drain(fd uintptr) bool { return p.move(p.r, int(fd)) }

// move reports false where it must wait.
func (p *splicePipe) move(from, to int) bool {
	for {
		n, err := unix.Splice(from, nil, to, nil, p.most, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err == unix.EINTR {
			continue
		}
		if p.n, p.err = max(0, int(n)), err; err == unix.EAGAIN {
			p.err = nil
			return false
		}
		return true
	}
}
