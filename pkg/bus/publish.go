package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"millrace.dev/pkg/fault"
)

const (
	// publishTimeout bounds the first try of a publish.
	publishTimeout = 10 * time.Second
	// longestTimeout bounds any: a full window of the largest messages passes a line of 1 Mbit/s in it.
	longestTimeout = 2 * time.Minute
)

// Publisher publishes to one stream with a bounded window in flight. Safe for concurrent use.
type Publisher struct {
	bus     *Bus
	stream  Stream
	window  int64
	slots   *semaphore.Weighted
	trouble seldom

	mu    sync.Mutex
	first error // since the last Flush
}

// Publisher answers a publisher with at most `window` messages in flight (at least 1). It holds no resource of its own.
func (b *Bus) Publisher(s Stream, window int) *Publisher {
	w := int64(max(1, window))
	return &Publisher{bus: b, stream: s, window: w, slots: semaphore.NewWeighted(w)}
}

// Publish takes m and returns once it is in flight; it blocks while the window is full. A full stream or an unreachable
// broker is waited out with the same id until ctx ends. Messages in flight together are stored in no stated order.
//
// done, which may be nil, is called exactly once when Publish returned nil: with nil when m is durable, else with the
// error. It is called from another goroutine and must not wait for this publisher. m.Body is not changed, and not read
// after done. An error of Publish itself (ctx has ended; LIMIT_EXCEEDED for a body above the payload cap) means that m
// was not taken and done is not called.
func (p *Publisher) Publish(ctx context.Context, m Message, done func(error)) error {
	if n := int64(len(m.Body)); n > p.bus.PayloadCap() {
		return fault.New(fault.Invalid, fault.ReasonLimitExceeded, "message %s has %d bytes, above the payload cap of %d", m.ID, n, p.bus.PayloadCap())
	}
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return unavailable("publish to "+string(p.stream), context.Cause(ctx))
	}
	if !p.bus.enter() {
		p.slots.Release(1)
		return unavailable("publish to "+string(p.stream), errClosed)
	}
	go func() {
		defer p.bus.work.Done()
		err := p.send(ctx, m)
		if err != nil {
			p.mu.Lock()
			if p.first == nil {
				p.first = err
			}
			p.mu.Unlock()
		}
		if done != nil {
			done(err)
		}
		p.slots.Release(1)
	}()
	return nil
}

// Flush waits until everything taken before is durable or has failed, and answers the first failure since the last
// Flush. When ctx ends first it answers BROKER_UNAVAILABLE; what is in flight stays in flight.
func (p *Publisher) Flush(ctx context.Context) error {
	if err := p.slots.Acquire(ctx, p.window); err != nil {
		return unavailable("flush "+string(p.stream), context.Cause(ctx))
	}
	p.slots.Release(p.window)
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.first
	p.first = nil
	return err
}

// send publishes m, with the same id each time, until the broker has it or ctx ends.
func (p *Publisher) send(ctx context.Context, m Message) error {
	ctx, cancel := p.bus.within(ctx)
	defer cancel()
	msg := &nats.Msg{Subject: subject(p.stream), Data: m.Body, Header: nats.Header{}}
	for k, v := range m.Header {
		msg.Header[k] = []string{v} // as written: trace context is lower case
	}
	pause := newBackoff()
	limit := p.bus.firstTry
	for {
		err := p.once(ctx, msg, m.ID, limit)
		if err == nil {
			if k := p.bus.brakes[p.stream]; k != nil {
				k.published(len(m.Body))
			}
			return nil
		}
		if errors.Is(err, context.DeadlineExceeded) {
			limit = min(2*limit, longestTimeout) // the line may be slow: copies of what is on its way make it slower
		}
		if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum) {
			return fault.New(fault.Invalid, fault.ReasonLimitExceeded, "message %s is larger than the broker allows: %w", m.ID, err)
		}
		if ctx.Err() == nil && p.trouble.now() {
			p.bus.log.Warn("the stream takes no messages; waiting", "stream", string(p.stream), "error", err)
		}
		if lost(err) {
			p.bus.restore(ctx)
		}
		if !wait(ctx, pause.NextBackOff()) {
			return unavailable("publish to "+string(p.stream), errors.Join(err, context.Cause(ctx)))
		}
	}
}

func (p *Publisher) once(ctx context.Context, msg *nats.Msg, id string, limit time.Duration) error {
	ctx, end := p.bus.link.during(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := p.bus.js.PublishMsg(ctx, msg, jetstream.WithMsgID(id), jetstream.WithExpectStream(string(p.stream)), jetstream.WithRetryAttempts(0))
	return err //nolint:wrapcheck // send says what was being done
}

// lost says whether err means that the broker does not know a stream or consumer that it should have.
func lost(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerDoesNotExist)
}
