// Package bus passes batches through NATS JetStream: publish with a bounded window, pull with a bounded budget, on a
// server embedded in the process or on a cluster by URL.
//
// The broker is a pipe: what it loses is read again from the warehouse, what it delivers twice has no second effect.
package bus

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/fault"
)

// Embedded is the URL of the server in the process.
const Embedded = "embedded"

// Stream names a stream of design section 3.
type Stream string

// The streams.
const (
	Rows       Stream = "ROWS"
	Records    Stream = "RECORDS"
	Quarantine Stream = "QUARANTINE"
)

// Message is a batch on its way.
type Message struct {
	// ID is the message id by which the broker drops repeats: id.Batch.String().
	ID   string
	Body []byte
	// Header carries the W3C trace context (traceparent, tracestate). May be nil.
	Header map[string]string
}

// Delivery is a message as it came.
type Delivery struct {
	Message
	// Attempt counts from 1 the deliveries whose handling failed by the message's own content, this one included.
	Attempt int
}

// Handler works on deliveries. Safe for concurrent use.
type Handler interface {
	// Handle works on one delivery. Nil acks it. An Unavailable, Throttled, Conflict or Cancelled error is tried again in
	// place with backoff, the message held by InProgress, and spends no delivery. Any other error spends one, and so
	// does a panic, which counts as Internal.
	Handle(ctx context.Context, d Delivery) error
	// Quarantined is told that a message was given up after its last attempt and stands in QUARANTINE. The message is
	// acked once it returns nil; until then it is called again with backoff.
	Quarantined(ctx context.Context, d Delivery, cause error) error
}

// Settings says which broker, and how much it may keep.
type Settings struct {
	// URL is Embedded (or empty), or a comma-separated list of nats:// addresses.
	URL string
	// Dir is the folder of the embedded server. One process at a time.
	Dir string
	// Replicas of each stream on a cluster; 0 means 1. The embedded server has 1.
	Replicas int
	// LazySync lets the embedded server ack before the disk has the message. What a power loss then takes is read again.
	LazySync bool
	// MaxBytes of ROWS and of RECORDS each, QUARANTINE has a quarter; 0 means 8 GiB. The embedded server scales the three down
	// where they would exceed 70 % of the disk space it can have, and refuses to start below 64 MiB.
	MaxBytes int64
	// Backlog is how many bytes a data stream may hold before Room holds back who adds to it; 0 means 32 MiB. It is at most
	// half of MaxBytes.
	Backlog int64
	// ConnectWait bounds the wait for the broker in Open; 0 means 30 s.
	ConnectWait time.Duration
	// Log takes what the broker and the bus have to say; nil: nothing.
	Log *slog.Logger
}

// headroom is what headers and the protocol may take of a message.
const headroom = 64 << 10

// payloadLimit is the payload cap where the server allows it.
const payloadLimit = 1 << 20

// Bus is a connection to the broker. Safe for concurrent use.
type Bus struct {
	settings Settings
	log      *slog.Logger
	server   *embedded // nil with an external broker
	nc       *nats.Conn
	js       jetstream.JetStream
	maxBytes int64
	backlog  int64
	brakes   map[Stream]*brake // of the data streams; not changed

	standstill time.Duration // longestStandstill
	looks      time.Duration // looksApart
	link       *link
	firstTry   time.Duration // of a publish, at most

	life    context.Context //nolint:containedctx // ends in Close, so that no publish or consume outlives the bus
	end     context.CancelFunc
	mu      sync.Mutex // guards closed and the first Add of work
	closed  bool
	work    sync.WaitGroup
	reconMu sync.Mutex
	fresh   map[string]bool // durables of the embedded server that this process has begun; guarded by reconMu
}

// Open starts or reaches the broker and brings the streams to their configuration. It waits for an external broker up
// to ConnectWait, then answers BROKER_UNAVAILABLE. Afterwards the connection is kept up for ever.
func Open(ctx context.Context, s Settings) (*Bus, error) {
	b := &Bus{settings: s, log: s.Log, maxBytes: s.MaxBytes, fresh: map[string]bool{}, firstTry: publishTimeout, standstill: longestStandstill, looks: looksApart}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.maxBytes <= 0 {
		b.maxBytes = 8 << 30
	}
	b.brakes = map[Stream]*brake{Rows: {}, Records: {}}
	if b.settings.ConnectWait <= 0 {
		b.settings.ConnectWait = 30 * time.Second
	}
	b.life, b.end = context.WithCancel(context.WithoutCancel(ctx))
	b.link = newLink(b.life) //nolint:contextcheck // the life is the bus's own
	if err := b.open(ctx); err != nil {
		b.end()
		b.shut()
		return nil, err
	}
	return b, nil
}

func (b *Bus) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.settings.ConnectWait)
	defer cancel()
	target := b.settings.URL
	var opts []nats.Option
	if target == "" || target == Embedded {
		fit, err := b.fitDisk()
		if err != nil {
			return err
		}
		b.maxBytes = fit
		b.server, err = startEmbedded(ctx, b.settings, b.log, reserved(fit))
		if err != nil {
			return err
		}
		target, opts = "", append(opts, nats.InProcessServer(b.server))
	}
	b.backlog = b.settings.Backlog
	if b.backlog <= 0 {
		b.backlog = defaultBacklog
	}
	b.backlog = min(b.backlog, b.maxBytes/2)
	if err := b.connect(ctx, target, opts); err != nil {
		return err
	}
	js, err := jetstream.New(b.nc)
	if err != nil {
		return unavailable("start JetStream", err)
	}
	b.js = js
	return b.retry(ctx, "prepare the streams", func(ctx context.Context) error { return b.reconcile(ctx) })
}

// connect reaches the broker, trying until ctx ends.
func (b *Bus) connect(ctx context.Context, target string, opts []nats.Option) error {
	opts = append(opts,
		nats.Name("millrace"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 250*time.Millisecond),
		nats.ReconnectBufSize(-1), // a publish during an outage fails at once and is sent again by its owner
		nats.PingInterval(5*time.Second),
		nats.MaxPingsOutstanding(3),
		nats.Timeout(5*time.Second),
		nats.FlusherTimeout(20*time.Second), // what writes holds the connection's lock: nobody else gets further meanwhile
		nats.ReconnectOnFlusherError(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.link.lost()
			if err != nil {
				b.log.Warn("the connection to the broker is lost; reconnecting", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("the broker is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.log.Warn("broker", "error", err)
		}),
	)
	return b.retry(ctx, "reach the broker at "+redact(target), func(context.Context) error {
		nc, err := nats.Connect(target, opts...)
		if err != nil {
			if errors.Is(err, nats.ErrAuthorization) {
				return backoff.Permanent(fault.New(fault.Denied, fault.ReasonBrokerUnavailable,
					"the broker at %s refuses the credentials; mend the setting nats: %w", redact(target), err))
			}
			return err
		}
		b.nc = nc
		return nil
	})
}

// retry calls f until it succeeds, fails for good or ctx ends.
func (b *Bus) retry(ctx context.Context, doing string, f func(context.Context) error) error {
	var last error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		last = f(ctx)
		return struct{}{}, last
	}, backoff.WithBackOff(newBackoff()), backoff.WithMaxElapsedTime(0))
	if err == nil {
		return nil
	}
	var own *fault.Error
	if errors.As(err, &own) {
		return own
	}
	return unavailable(doing, errors.Join(last, err))
}

// newBackoff answers the waits between tries of the same thing: 100 ms doubling to 2 s, with jitter.
func newBackoff() *backoff.ExponentialBackOff {
	e := backoff.NewExponentialBackOff()
	e.InitialInterval = 100 * time.Millisecond
	e.MaxInterval = 2 * time.Second
	e.Multiplier = 2
	return e
}

// wait waits d, or less where ctx ends; it says whether d passed.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func unavailable(doing string, err error) *fault.Error {
	return fault.New(fault.Unavailable, fault.ReasonBrokerUnavailable, "%s: the broker does not answer as it should; it is tried again: %w", doing, err)
}

// redact answers a broker URL without what it holds of secrets.
func redact(target string) string {
	if target == "" {
		return Embedded
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return "the address set"
	}
	return u.Scheme + "://" + u.Host
}

// PayloadCap answers the largest body that a message may have: min(1 MiB, the server's maximum − 64 KiB).
func (b *Bus) PayloadCap() int64 {
	return min(payloadLimit, b.nc.MaxPayload()-headroom)
}

// Ready answers nil while the broker is reached, else BROKER_UNAVAILABLE.
func (b *Bus) Ready() error {
	if b.nc.IsConnected() {
		return nil
	}
	return unavailable("reach the broker", errors.New(b.nc.Status().String())) //nolint:err113 // the status is the text
}

// enter registers a piece of work that Close waits for; the answer is false once the bus is closed.
func (b *Bus) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.work.Add(1)
	return true
}

// within answers ctx that also ends with the bus.
func (b *Bus) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(b.life, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

var errClosed = errors.New("the bus is closed")

// Close ends what is still in flight (their done functions hear of it), sends the acks on their way and stops the
// embedded server. It may be called more than once.
func (b *Bus) Close() error {
	b.mu.Lock()
	already := b.closed
	b.closed = true
	b.mu.Unlock()
	if already {
		return nil
	}
	b.end()
	b.work.Wait()
	b.shut()
	return nil
}

func (b *Bus) shut() {
	if b.nc != nil {
		if b.nc.IsConnected() {
			_ = b.nc.FlushTimeout(2 * time.Second) // acks that do not arrive are delivered again, without effect
		}
		b.nc.Close()
	}
	if b.server != nil {
		b.server.stop()
	}
}
