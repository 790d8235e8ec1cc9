package switcher

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// retryEvery is how long after a failed check the next one begins, while the
// request still waits.
const retryEvery = 250 * time.Millisecond

// awaitHealth returns nil once all targets have proven healthy together (S3),
// or the operation is forced.
func (s *Switcher) awaitHealth(ctx context.Context, op *operation, wait time.Duration) error {
	if op.force {
		return nil
	}
	s.step(op, StepHealth)
	start := time.Now()
	defer func() { op.record.Probing = time.Since(start) }()
	said := ""
	for {
		err := s.probe(ctx, op.record.Moves)
		if ctx.Err() != nil {
			return aborted(ctx)
		}
		left := wait - time.Since(start)
		if err == nil {
			return nil
		} else if left <= 0 {
			return unhealthy(err, wait)
		}
		if err.Error() != said {
			said = err.Error()
			s.tell(op.record, LevelInfo, fmt.Sprintf("%s waits: %s", op.record.summary(), said))
		}
		select {
		case <-time.After(min(retryEvery, left)):
		case <-ctx.Done():
			return aborted(ctx)
		}
	}
}

func unhealthy(err error, waited time.Duration) error {
	if waited > 0 {
		return fmt.Errorf("%w after %s: %w", ErrUnhealthy, waited, err)
	}
	return fmt.Errorf("%w: %w", ErrUnhealthy, err)
}

// probe awaits all targets at once and joins what is wrong with them.
func (s *Switcher) probe(ctx context.Context, moves []Move) error {
	errs := make([]error, len(moves))
	var wg sync.WaitGroup
	for i, m := range moves {
		wg.Go(func() { errs[i] = s.opts.Prober.Await(ctx, m.Service, m.To) })
	}
	wg.Wait()
	var joined error
	for i, err := range errs {
		if err == nil {
			continue
		}
		err = fmt.Errorf("%s %s: %w", moves[i].Service, moves[i].To, err)
		if joined != nil {
			err = fmt.Errorf("%w; %w", joined, err)
		}
		joined = err
	}
	return joined
}
