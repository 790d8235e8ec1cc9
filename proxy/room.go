package proxy

import "sync"

// Room is a number of connections that several parties share, such as the file
// descriptors of the process. Half of it is divided among the parties, and what
// is one's own nobody else can take; the other half is for whoever comes first.
// So a party that takes all that it can get leaves the others theirs.
type Room struct {
	mu      sync.Mutex
	total   int
	shares  map[*roomShare]struct{}
	changed chan struct{} // closed and replaced when somebody waits and there may be room
	waiting bool
}

// NewRoom returns room for so many connections.
func NewRoom(total int) *Room {
	return &Room{total: total, shares: map[*roomShare]struct{}{}, changed: make(chan struct{})}
}

// roomShare is one party's part. A nil share has no bound.
type roomShare struct {
	room *Room
	used int
	left bool // nothing new is taken; what is used is still counted
}

// join adds a party. A nil room has no bound.
func (r *Room) join() *roomShare {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &roomShare{room: r}
	r.shares[s] = struct{}{}
	return s
}

// part leaves the room, once nothing is used any more.
func (s *roomShare) part() {
	if s == nil {
		return
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.left = true
	s.room.tidy(s)
}

// take takes a place, or reports that there is none.
func (s *roomShare) take() bool {
	if s == nil {
		return true
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return s.takeLocked()
}

// force takes a place whether there is one or not.
func (s *roomShare) force() {
	if s != nil {
		s.room.mu.Lock()
		defer s.room.mu.Unlock()
		s.used++
	}
}

// takeOrWait is take, and returns what is closed when it is worth another try.
func (s *roomShare) takeOrWait() (bool, <-chan struct{}) {
	if s == nil {
		return true, nil
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.takeLocked() {
		return true, nil
	}
	r.waiting = true
	return false, r.changed
}

func (s *roomShare) takeLocked() bool {
	r := s.room
	own, used, kept := r.own(), 0, 0
	for other := range r.shares {
		used += other.used
		if other != s && !other.left {
			kept += max(0, own-other.used)
		}
	}
	if used+kept >= r.total {
		return false
	}
	s.used++
	return true
}

// own is what each party has for itself. r.mu is held.
func (r *Room) own() int {
	parties := 0
	for s := range r.shares {
		if !s.left {
			parties++
		}
	}
	return r.total / 2 / max(parties, 1)
}

// give gives a place back.
func (s *roomShare) give() {
	if s == nil {
		return
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	s.used--
	r.tidy(s)
	if r.waiting {
		r.waiting = false
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// tidy forgets a party that has gone. r.mu is held.
func (r *Room) tidy(s *roomShare) {
	if s.left && s.used == 0 {
		delete(r.shares, s)
	}
}

// shareOf is the service's part of the room for connections to slots. p.mu must
// be held.
func (p *Proxy) shareOf(service string) *roomShare {
	share, ok := p.shares[service]
	if !ok {
		share = p.opts.SlotRoom.join()
		p.shares[service] = share
	}
	return share
}
