package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/killpoint"
)

const (
	// Attempts is how often a message may fail by its own content before it goes to QUARANTINE.
	Attempts = 5
	// deliveriesCeiling sends a message that fails by its content to QUARANTINE even where the failures before were
	// counted by processes that are gone or by other replicas.
	deliveriesCeiling = 5 * Attempts
	// inProgressEvery is how often the broker is told that a message is in hand.
	inProgressEvery = 5 * time.Second
	// pullFor is how long one pull waits for a message.
	pullFor = 30 * time.Second
	// firstNakDelay is the delay after the first failed attempt; it doubles with each.
	firstNakDelay = 250 * time.Millisecond
)

// ConsumeOptions says how a stream is worked on.
type ConsumeOptions struct {
	// Workers handle that many deliveries at once; 0 means 2.
	Workers int
	// MaxAckPending bounds what all processes of a durable have in hand together; 0 means 16.
	MaxAckPending int
	// Into is the data stream that the handler publishes to, if any: no message is pulled while that has no Room.
	Into Stream
	// Hard is the context that deliveries in hand go by when ctx has ended; nil means ctx itself.
	Hard context.Context //nolint:containedctx // the two-stage stop of design section 6
}

// Consume works on a stream with `durable`, the name shared by all processes that divide its messages among them, until
// ctx ends; then it takes no new message, finishes what is in hand under o.Hard and returns nil. What o.Hard cuts off is
// delivered again. A message may be delivered more than once, and to more than one process. Outages are waited out.
func (b *Bus) Consume(ctx context.Context, s Stream, durable string, o ConsumeOptions, h Handler) error {
	if !b.enter() {
		return unavailable("consume "+string(s), errClosed)
	}
	defer b.work.Done()
	hard := o.Hard //nolint:contextcheck // the second stage of the stop
	if hard == nil {
		hard = ctx
	}
	soft, cancelSoft := b.within(ctx)
	defer cancelSoft()
	hard, cancelHard := b.within(hard)
	defer cancelHard()

	c := &consumer{
		bus: b, stream: s, durable: durable, handler: h, into: o.Into, tries: newTries(),
		quarantine: b.Publisher(Quarantine, max(2, o.Workers)), maxAckPending: o.MaxAckPending,
	}
	if c.maxAckPending <= 0 {
		c.maxAckPending = 16
	}
	workers := o.Workers
	if workers <= 0 {
		workers = 2
	}
	if err := b.retry(soft, "prepare the consumer "+durable, c.reconcile); err != nil {
		if soft.Err() != nil {
			return nil //nolint:nilerr // told to stop before it began
		}
		return err
	}
	var g errgroup.Group
	g.Go(func() error {
		c.watch(soft)
		return nil
	})
	for range workers {
		g.Go(func() error {
			c.work(soft, hard)
			return nil
		})
	}
	return g.Wait() //nolint:wrapcheck // always nil
}

// consumer is one Consume call.
type consumer struct {
	bus           *Bus
	stream        Stream
	durable       string
	handler       Handler
	into          Stream
	tries         *tries
	quarantine    *Publisher
	maxAckPending int
	trouble       seldom
	came          atomic.Int64 // counts messages that were delivered to this process

	mu   sync.Mutex
	cons jetstream.Consumer
}

// reconcile makes the durable, or changes it to its configuration.
func (c *consumer) reconcile(ctx context.Context) error {
	if err := c.bus.forget(ctx, c.stream, c.durable); err != nil {
		return err
	}
	cons, err := c.make(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cons = cons
	return nil
}

// spareNames is how many names a durable may have. The broker refuses a name for ever once the file of its state is damaged;
// every process then comes to the same next one.
const spareNames = 4

// make makes the durable under its own name, or under the next one that the broker takes.
func (c *consumer) make(ctx context.Context) (cons jetstream.Consumer, err error) {
	name := c.durable
	for i := 2; i <= spareNames+1; i++ {
		cons, err = c.bus.js.CreateOrUpdateConsumer(ctx, string(c.stream), consumerConfig(name, c.maxAckPending))
		if !spoilt(err) {
			return cons, err //nolint:wrapcheck // retry says what was being done
		}
		if c.trouble.now() {
			c.bus.log.Warn("the broker can not have a consumer of this name; the next one is tried", "stream", string(c.stream), "consumer", name, "error", err)
		}
		name = fmt.Sprintf("%s_%d", c.durable, i)
	}
	return nil, err //nolint:wrapcheck // retry says what was being done
}

// Error codes of the broker that jetstream has no names for.
const (
	consumerStoreFailed = 10012 // the files of a consumer of this name are damaged
	consumerMultiple    = 10099 // the stream has its consumer under another name
	consumerNotUnique   = 10100 // the same of consumers with filters
)

// spoilt says whether a consumer can not be made under its name and may be under the next.
func spoilt(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == consumerStoreFailed ||
		api.ErrorCode == consumerMultiple || api.ErrorCode == consumerNotUnique)
}

// work is one worker: it pulls a message when its hands are free, until soft ends.
func (c *consumer) work(soft, hard context.Context) {
	pause := newBackoff()
	for soft.Err() == nil {
		if c.into != "" && c.bus.Room(soft, c.into) != nil {
			continue
		}
		msg, err := c.next(soft)
		if err == nil {
			pause.Reset()
			c.came.Add(1)
			c.deliver(soft, hard, msg)
			continue
		}
		if idle(err) || soft.Err() != nil {
			continue
		}
		if c.trouble.now() {
			c.bus.log.Warn("pulling is disturbed; trying again", "stream", string(c.stream), "error", err)
		}
		if lost(err) && c.bus.restore(soft) {
			_ = c.reconcile(soft) // where it fails, the next pull finds the consumer missing again
		}
		wait(soft, pause.NextBackOff())
	}
}

func (c *consumer) next(ctx context.Context) (jetstream.Msg, error) {
	c.mu.Lock()
	cons := c.cons
	c.mu.Unlock()
	ctx, end := c.bus.link.during(ctx)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, pullFor)
	defer cancel()
	return cons.Next(jetstream.FetchContext(ctx)) //nolint:wrapcheck // told apart by idle and lost
}

// idle says whether a pull ended because there was nothing to deliver.
func idle(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrMaxBytesExceeded)
}

// deliver works on one message until it is acked or handed back.
func (c *consumer) deliver(soft, hard context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		c.bus.log.Error("a message without JetStream metadata is dropped", "stream", string(c.stream), "error", err)
		_ = msg.Term()
		return
	}
	release := hold(msg)
	defer release()
	seq := meta.Sequence.Stream
	d := Delivery{Message: messageOf(msg), Attempt: c.tries.count(seq) + 1}
	err = c.untilJudged(soft, hard, d)
	switch {
	case err == nil:
		c.tries.forget(seq)
		killpoint.Reach("bus.ack.before", string(c.stream))
		_ = msg.Ack() // an ack that is lost makes the message come again, without effect
		killpoint.Reach("bus.ack.after", string(c.stream))
	case errors.Is(err, errStopped):
		_ = msg.Nak()
	case c.tries.add(seq) < Attempts && meta.NumDelivered < deliveriesCeiling:
		c.bus.log.Warn("a message failed by its content; it is tried again",
			"stream", string(c.stream), "message_id", d.ID, "attempt", d.Attempt, "error", err)
		_ = msg.NakWithDelay(firstNakDelay << (d.Attempt - 1))
	default:
		if !c.giveUp(soft, hard, d, err) {
			_ = msg.Nak()
			return
		}
		c.tries.forget(seq)
		_ = msg.Ack()
	}
}

// errStopped means that the stop came before a judgement on the message.
var errStopped = errors.New("stopped")

// untilJudged handles d, again in place while something outside is missing, and answers nil when it is done, errStopped,
// or the error that its content caused.
func (c *consumer) untilJudged(soft, hard context.Context, d Delivery) error {
	pause := newBackoff()
	logged := false
	for {
		err := c.handle(hard, d)
		if err == nil {
			return nil
		}
		if hard.Err() != nil {
			return errStopped
		}
		f := fault.As(err)
		if !outside(f.Class) {
			return err
		}
		if !logged {
			c.bus.log.Warn("handling waits", "stream", string(c.stream), "message_id", d.ID, "reason", f.Reason.String(), "error", err)
			logged = true
		}
		if !wait(soft, max(pause.NextBackOff(), min(f.RetryAfter, time.Minute))) {
			return errStopped
		}
	}
}

// outside says whether a class of failure has its cause outside the message.
func outside(c fault.Class) bool {
	return c == fault.Unavailable || c == fault.Throttled || c == fault.Conflict || c == fault.Cancelled
}

// handle calls the handler; a panic there is an Internal error.
func (c *consumer) handle(ctx context.Context, d Delivery) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.bus.log.Error("a handler panicked", "stream", string(c.stream), "message_id", d.ID, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, fault.ReasonInternal, "the handler of %s panicked (%T); the log has the stack", c.stream, r)
		}
	}()
	return c.handler.Handle(ctx, d) //nolint:wrapcheck // the handler's own error, classified by it
}

// hold tells the broker every few seconds that msg is in hand, until the function it answers is called.
func hold(msg jetstream.Msg) func() {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(inProgressEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				_ = msg.InProgress() // a lost one costs a second delivery at most
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}

// giveUp puts d into QUARANTINE and tells the handler; false when the stop came first.
func (c *consumer) giveUp(soft, hard context.Context, d Delivery, cause error) bool {
	f := fault.As(cause)
	c.bus.log.Error("a message goes to quarantine", "stream", string(c.stream), "message_id", d.ID, "attempts", d.Attempt, "error", cause)
	m := Message{ID: d.ID, Body: d.Body, Header: map[string]string{
		HeaderStream: string(c.stream), HeaderAttempts: fmt.Sprint(d.Attempt),
		HeaderReason: f.Reason.Word(), HeaderClass: f.Class.String(),
	}}
	for k, v := range d.Header {
		m.Header[k] = v
	}
	if err := c.quarantine.send(soft, m); err != nil {
		return false
	}
	pause := newBackoff()
	for {
		err := c.handler.Quarantined(hard, d, cause)
		if err == nil {
			return true
		}
		c.bus.log.Warn("the quarantine of a message can not be reported yet", "message_id", d.ID, "error", err)
		if !wait(soft, pause.NextBackOff()) {
			return false
		}
	}
}

// Headers of messages in QUARANTINE. The reason is fault.Reason's word; no text travels, so no row value can.
const (
	HeaderStream   = "Millrace-Stream"
	HeaderAttempts = "Millrace-Attempts"
	HeaderReason   = "Millrace-Reason"
	HeaderClass    = "Millrace-Class"
)

func messageOf(msg jetstream.Msg) Message {
	m := Message{Body: msg.Data(), Header: map[string]string{}}
	for k, v := range msg.Headers() {
		switch {
		case len(v) == 0:
		case k == jetstream.MsgIDHeader:
			m.ID = v[0]
		case k == jetstream.ExpectedStreamHeader:
		default:
			m.Header[k] = v[0]
		}
	}
	return m
}
