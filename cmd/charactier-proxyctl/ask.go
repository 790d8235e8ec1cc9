package main

import "time"

// noticeTime is how long a question may stay unanswered in silence.
const noticeTime = 2 * time.Second

// ask puts a question to the daemon, and says so when the answer takes long.
func ask[T any](e *env, question func() (T, error)) (T, error) {
	type reply struct {
		value T
		err   error
	}
	replies := make(chan reply, 1)
	go func() {
		value, err := question()
		replies <- reply{value, err}
	}()
	var late <-chan time.Time
	if e.notice > 0 {
		timer := time.NewTimer(e.notice)
		defer timer.Stop()
		late = timer.C
	}
	for {
		select {
		case r := <-replies:
			return r.value, r.err
		case <-late:
			e.notef("waiting for the daemon")
		}
	}
}
