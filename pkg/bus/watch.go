package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// looksApart is how long nothing has to come before the broker is asked what it holds, and how far apart two looks are.
	looksApart = 5 * time.Second
	// longestApart is how far apart consumers are made anew at most: it doubles with each that was of no use.
	longestApart = 10 * time.Minute
)

// watch makes the durable anew where the broker holds messages that it never delivers: a store that comes back empty counts
// from 1 again, and its consumer may stay where it stood. What was in hand comes twice, without effect. Only while nothing
// comes is the broker asked.
func (c *consumer) watch(ctx context.Context) {
	look := time.NewTicker(c.bus.looks + rand.N(c.bus.looks/2)) //nolint:gosec // so that two processes do not do it at once
	defer look.Stop()
	var (
		came  int64
		was   standing
		apart = c.bus.looks
		next  time.Time
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		if n := c.came.Load(); n != came {
			came, was = n, standing{}
			continue
		}
		is, ok := c.stands(ctx)
		if !ok || is.passedBy == 0 {
			if was = (standing{}); ok && time.Now().After(next) {
				apart = c.bus.looks // the last time was of use
			}
			continue
		}
		if is != was || time.Now().Before(next) {
			was = is
			continue
		}
		was, next = standing{}, time.Now().Add(apart)
		apart = min(2*apart, longestApart)
		c.bus.log.Warn("the broker holds messages that it does not deliver; their consumer is made anew",
			"stream", string(c.stream), "consumer", is.name, "messages", is.passedBy)
		if err := c.anew(ctx, is.name); err != nil && ctx.Err() == nil {
			c.bus.log.Warn("the consumer can not be made anew; it is tried again", "stream", string(c.stream), "consumer", is.name, "error", err)
		}
	}
}

// standing is where a durable stands in its stream.
type standing struct {
	name      string
	delivered uint64 // counts deliveries
	last      uint64 // the stream's last message
	passedBy  uint64 // messages in the stream that are neither in hand nor to come
}

// stands asks where the durable stands. False: the broker does not answer, or messages came or went meanwhile.
func (c *consumer) stands(ctx context.Context) (standing, bool) {
	c.mu.Lock()
	cons := c.cons
	c.mu.Unlock()
	ctx, end := c.bus.link.during(ctx)
	defer end()
	stream, err := c.bus.js.Stream(ctx, string(c.stream))
	if err != nil {
		return standing{}, false
	}
	before := stream.CachedInfo().State
	at, err := cons.Info(ctx)
	if err != nil {
		return standing{}, false
	}
	after, err := stream.Info(ctx)
	if err != nil || before.Msgs != after.State.Msgs || before.LastSeq != after.State.LastSeq {
		return standing{}, false
	}
	known := at.NumPending + uint64(at.NumAckPending) //nolint:gosec // no count is negative
	return standing{name: at.Name, delivered: at.Delivered.Consumer, last: before.LastSeq, passedBy: before.Msgs - min(known, before.Msgs)}, true
}

// anew deletes the durable and makes it again, at the stream's first message.
func (c *consumer) anew(ctx context.Context, name string) error {
	ctx, end := c.bus.link.during(ctx)
	defer end()
	err := c.bus.js.DeleteConsumer(ctx, string(c.stream), name)
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err //nolint:wrapcheck // its caller says what was being done
	}
	return c.reconcile(ctx)
}
