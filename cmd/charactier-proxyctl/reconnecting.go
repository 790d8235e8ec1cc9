package main

import (
	"context"
	"errors"
	"sync"

	"charactier-proxy/systemd"
)

// reconnecting is one connection for a whole deploy, which is made again when it was
// lost: the bus may be restarted under a deploy that has to be undone.
type reconnecting[T interface{ Close() error }] struct {
	connect func(context.Context) (T, error)

	mu     sync.Mutex
	conn   T
	closed bool // or not connected yet
}

func newReconnecting[T interface{ Close() error }](ctx context.Context, connect func(context.Context) (T, error)) (*reconnecting[T], error) {
	conn, err := connect(ctx)
	if err != nil {
		return nil, err
	}
	return &reconnecting[T]{connect: connect, conn: conn}, nil
}

// get returns the connection, a new one if the last was given up.
func (l *reconnecting[T]) get(ctx context.Context) (T, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		return l.conn, nil
	}
	conn, err := l.connect(ctx)
	if err == nil {
		l.conn, l.closed = conn, false
	}
	return conn, err
}

// once calls do, and gives up a connection that is lost, so that the next call
// has another.
func (l *reconnecting[T]) once(ctx context.Context, do func(T) error) error {
	conn, err := l.get(ctx)
	if err != nil {
		return err
	}
	if err = do(conn); errors.Is(err, systemd.ErrDisconnected) {
		l.giveUp(conn)
	}
	return err
}

// again is once for what may be done twice: it is, if the connection was lost.
func (l *reconnecting[T]) again(ctx context.Context, do func(T) error) error {
	err := l.once(ctx, do)
	if errors.Is(err, systemd.ErrDisconnected) && ctx.Err() == nil {
		err = l.once(ctx, do)
	}
	return err
}

func (l *reconnecting[T]) giveUp(conn T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || any(conn) != any(l.conn) {
		return // somebody else was first
	}
	l.closed = true
	_ = conn.Close()
}

func (l *reconnecting[T]) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.conn.Close()
}
