package scheduler

import (
	"context"
	"errors"
	"sync"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

const (
	maxCombined  = 128
	writeTimeout = 30 * time.Second
)

// combiner runs many small writes in one transaction, so that a storm of reports costs few commits. It has no goroutine
// of its own: whoever comes first writes for those who come meanwhile. Safe for concurrent use.
type combiner struct {
	db    *sqldb.DB
	mu    sync.Mutex
	queue []*write
	busy  bool
}

// step is one caller's part of a transaction; `now` is the database's clock.
type step func(ctx context.Context, tx *sqldb.Tx, now time.Time) error

// write is a caller that waits for its step.
type write struct {
	f    step
	done chan error    // has room for the one answer
	lead chan struct{} // closed: this caller writes next
}

// refusal is an answer to one caller that leaves the transaction of the others whole: its writer has written nothing.
type refusal struct{ err error }

func (r refusal) Error() string { return r.err.Error() }

func (r refusal) Unwrap() error { return r.err }

// refuse marks err as given before anything was written.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return refusal{err}
}

// do runs f in a transaction, perhaps together with others, and answers once it is durable. f may run several times.
// When ctx ends first, f may still take effect.
func (c *combiner) do(ctx context.Context, f step) error {
	w := &write{f: f, done: make(chan error, 1), lead: make(chan struct{})}
	c.mu.Lock()
	c.queue = append(c.queue, w)
	if !c.busy {
		c.busy = true
		close(w.lead)
	}
	c.mu.Unlock()
	select {
	case err := <-w.done:
		return plain(err)
	case <-w.lead:
	case <-ctx.Done():
		if !c.withdraw(w) {
			break // it leads, or is being written: see it through
		}
		return fault.As(ctx.Err())
	}
	select {
	case err := <-w.done:
		return plain(err)
	case <-w.lead:
	}
	c.write(ctx)
	return plain(<-w.done)
}

// withdraw takes w out of the queue, unless it is its turn.
func (c *combiner) withdraw(w *write) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, o := range c.queue {
		if o == w && i > 0 {
			c.queue = append(c.queue[:i], c.queue[i+1:]...)
			return true
		}
	}
	return false
}

// write writes the head of the queue, its leader first, and hands the lead on.
func (c *combiner) write(ctx context.Context) {
	c.mu.Lock()
	n := min(len(c.queue), maxCombined)
	batch := c.queue[:n:n]
	c.queue = c.queue[n:]
	c.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	if err := c.together(ctx, batch); err != nil {
		c.apart(ctx, batch, err)
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.busy = false
		return
	}
	close(c.queue[0].lead)
}

// together writes all in one transaction. Nobody is answered where it fails.
func (c *combiner) together(ctx context.Context, batch []*write) error {
	answers := make([]error, len(batch))
	err := c.db.Tx(ctx, func(tx *sqldb.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		for i, w := range batch {
			answers[i] = w.f(ctx, tx, now)
			var r refusal
			if answers[i] != nil && !errors.As(answers[i], &r) {
				return answers[i]
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, w := range batch {
		w.done <- answers[i]
	}
	return nil
}

// apart writes each in a transaction of its own, so that one that cannot be written does not keep the others back.
func (c *combiner) apart(ctx context.Context, batch []*write, cause error) {
	if len(batch) == 1 {
		batch[0].done <- cause
		return
	}
	for _, w := range batch {
		w.done <- c.db.Tx(ctx, func(tx *sqldb.Tx) error {
			now, err := tx.Now(ctx)
			if err != nil {
				return err
			}
			return w.f(ctx, tx, now)
		})
	}
}

func plain(err error) error {
	var r refusal
	if errors.As(err, &r) {
		return r.err
	}
	return err
}
