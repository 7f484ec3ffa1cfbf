package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	queueSpans  = 4096
	sendSpans   = 512
	sendDelay   = 200 * time.Millisecond // within which a span is on its way
	sendTimeout = 5 * time.Second
)

// queue takes ended spans on their way to one destination. It never blocks who ends a span: where it is full the span is
// dropped and counted. It is a processor of every provider of the process and outlives them.
type queue struct {
	to      string
	next    sdktrace.SpanExporter
	log     *slog.Logger
	figures *prometheus.CounterVec

	spans chan sdktrace.ReadOnlySpan
	flush chan chan struct{}
	ended chan struct{} // closed: send what is left and return
	over  chan struct{} // closed when it has
	end   sync.Once
	life  context.Context //nolint:containedctx // of calls in hand
	cut   context.CancelFunc
	away  atomic.Bool // the last call failed
}

// newQueue starts a queue. It is to be closed.
func newQueue(ctx context.Context, to string, next sdktrace.SpanExporter, log *slog.Logger, figures *prometheus.CounterVec) *queue {
	q := &queue{
		to: to, next: next, log: log, figures: figures,
		spans: make(chan sdktrace.ReadOnlySpan, queueSpans), flush: make(chan chan struct{}),
		ended: make(chan struct{}), over: make(chan struct{}),
	}
	q.life, q.cut = context.WithCancel(context.WithoutCancel(ctx))
	go q.run() //nolint:contextcheck // it lives until it is closed
	return q
}

// count adds to the figures of the destination.
func (q *queue) count(outcome string, n int) {
	q.figures.WithLabelValues(q.to, outcome).Add(float64(n))
}

// put takes a span, or drops it.
func (q *queue) put(s sdktrace.ReadOnlySpan) {
	select {
	case <-q.ended:
		q.count("dropped", 1)
		return
	default:
	}
	select {
	case q.spans <- s:
	default:
		q.count("dropped", 1)
	}
}

func (q *queue) run() {
	defer close(q.over)
	timer := time.NewTimer(sendDelay)
	timer.Stop()
	batch := make([]sdktrace.ReadOnlySpan, 0, sendSpans)
	for {
		select {
		case s := <-q.spans:
			if len(batch) == 0 {
				timer.Reset(sendDelay)
			}
			if batch = append(batch, s); len(batch) == sendSpans {
				batch = q.send(batch)
			}
		case <-timer.C:
			batch = q.send(batch)
		case done := <-q.flush:
			batch = q.drain(batch)
			close(done)
		case <-q.ended:
			q.drain(batch)
			return
		}
	}
}

// drain sends what is waiting.
func (q *queue) drain(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	for {
		select {
		case s := <-q.spans:
			if batch = append(batch, s); len(batch) == sendSpans {
				batch = q.send(batch)
			}
		default:
			return q.send(batch)
		}
	}
}

// send delivers a batch or drops it, and answers an empty one.
func (q *queue) send(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	if len(batch) == 0 {
		return batch
	}
	ctx, cancel := context.WithTimeout(q.life, sendTimeout)
	defer cancel()
	if err := q.next.ExportSpans(ctx, batch); err == nil {
		q.count("sent", len(batch))
		if q.away.Swap(false) {
			q.log.Info("spans are delivered again", "to", q.to)
		}
	} else {
		q.count("failed", len(batch))
		if !q.away.Swap(true) {
			q.log.Warn("spans can not be delivered; they are dropped and counted until they can", "to", q.to, "error", err)
		}
	}
	clear(batch)
	return batch[:0]
}

// wait sends what has been put before, until ctx ends.
func (q *queue) wait(ctx context.Context) {
	done := make(chan struct{})
	select {
	case q.flush <- done:
	case <-q.over:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// close sends what is left until ctx ends, then cuts what is in hand.
func (q *queue) close(ctx context.Context) error {
	q.end.Do(func() { close(q.ended) })
	stop := context.AfterFunc(ctx, q.cut)
	defer stop()
	<-q.over
	q.cut()
	return errors.Join(ctx.Err(), q.next.Shutdown(ctx))
}

// fan is the span processor of every provider: it gives ended spans to the queues that there are.
type fan struct{ queues atomic.Pointer[[]*queue] }

// add adds a queue.
func (f *fan) add(q *queue) {
	all := append([]*queue{}, f.all()...)
	all = append(all, q)
	f.queues.Store(&all)
}

func (f *fan) all() []*queue {
	if p := f.queues.Load(); p != nil {
		return *p
	}
	return nil
}

func (*fan) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

func (f *fan) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	for _, q := range f.all() {
		q.put(s)
	}
}

// ForceFlush sends what has been put before.
func (f *fan) ForceFlush(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, q := range f.all() {
		wg.Go(func() { q.wait(ctx) })
	}
	wg.Wait()
	return ctx.Err() //nolint:wrapcheck // the caller's own
}

// Shutdown is that of a provider; the queues go on for the others.
func (*fan) Shutdown(context.Context) error { return nil }
