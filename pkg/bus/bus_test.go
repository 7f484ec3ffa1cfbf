package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/fault"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// forms are the two ways to have a broker: in the process, and by URL.
func forms(t *testing.T, test func(t *testing.T, open func(maxBytes int64) *bus.Bus)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func(maxBytes int64) *bus.Bus { return openBus(t, bus.Settings{Dir: dir, MaxBytes: maxBytes}) })
	})
	t.Run("external", func(t *testing.T) {
		url := listen(t, t.TempDir(), -1).ClientURL()
		test(t, func(maxBytes int64) *bus.Bus { return openBus(t, bus.Settings{URL: url, MaxBytes: maxBytes}) })
	})
}

func openBus(t *testing.T, s bus.Settings) *bus.Bus {
	t.Helper()
	s.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := bus.Open(t.Context(), s)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// listen runs a server with a listener on loopback.
func listen(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, JetStreamMaxStore: 1 << 40, JetStreamMaxMemory: 1 << 20,
	})
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(10*time.Second))
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// handler is a Handler of functions.
type handler struct {
	handle      func(ctx context.Context, d bus.Delivery) error
	quarantined func(ctx context.Context, d bus.Delivery, cause error) error
}

func (h handler) Handle(ctx context.Context, d bus.Delivery) error { return h.handle(ctx, d) }

func (h handler) Quarantined(ctx context.Context, d bus.Delivery, cause error) error {
	if h.quarantined == nil {
		return nil
	}
	return h.quarantined(ctx, d, cause)
}

// consume runs a consumer until the function it answers is called.
func consume(t *testing.T, b *bus.Bus, s bus.Stream, o bus.ConsumeOptions, h bus.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Consume(ctx, s, "worker", o, h) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
		})
	}
	t.Cleanup(stop)
	return stop
}

func publish(t *testing.T, b *bus.Bus, s bus.Stream, ids ...string) {
	t.Helper()
	p := b.Publisher(s, 8)
	for _, id := range ids {
		require.NoError(t, p.Publish(t.Context(), bus.Message{ID: id, Body: []byte("body of " + id)}, nil))
	}
	require.NoError(t, p.Flush(t.Context()))
}

// settles waits until a stream has as many messages, all accounted for.
func settles(t *testing.T, b *bus.Bus, s bus.Stream, messages int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		st, err := b.Stats(t.Context(), s)
		return err == nil && st.Messages == messages && st.Unaccounted() == 0
	}, time.Minute, 10*time.Millisecond)
}

func TestAMessageArrivesWholeAndOnce(t *testing.T) {
	forms(t, func(t *testing.T, open func(int64) *bus.Bus) {
		b := open(64 << 20)
		body := make([]byte, b.PayloadCap())
		for i := range body {
			body[i] = byte(rand.Uint32()) //nolint:gosec // any bytes do
		}
		p := b.Publisher(bus.Rows, 4)
		m := bus.Message{ID: "r/1/1/0/0", Body: body, Header: map[string]string{"traceparent": "00-a-b-01"}}
		for range 3 { // the repeats are dropped by id
			require.NoError(t, p.Publish(t.Context(), m, nil))
		}
		require.NoError(t, p.Flush(t.Context()))
		settles(t, b, bus.Rows, 1)

		got := make(chan bus.Delivery, 3)
		consume(t, b, bus.Rows, bus.ConsumeOptions{}, handler{handle: func(_ context.Context, d bus.Delivery) error {
			got <- d
			return nil
		}})
		d := <-got
		require.Equal(t, m, d.Message)
		require.Equal(t, 1, d.Attempt)
		settles(t, b, bus.Rows, 0)
		require.Empty(t, got)
	})
}

func TestThePayloadCapLeavesRoomInTheServersMaximum(t *testing.T) {
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	require.Equal(t, int64(1<<20), b.PayloadCap(), "the embedded server takes 2 MiB")
	err := b.Publisher(bus.Rows, 1).Publish(t.Context(), bus.Message{ID: "x", Body: make([]byte, b.PayloadCap()+1)}, func(error) { require.Fail(t, "not taken") })
	require.Equal(t, fault.ReasonLimitExceeded, fault.ReasonOf(err))
	require.Equal(t, fault.Invalid, fault.ClassOf(err))

	ext := openBus(t, bus.Settings{URL: listen(t, t.TempDir(), -1).ClientURL(), MaxBytes: 64 << 20})
	require.Equal(t, int64(1<<20-64<<10), ext.PayloadCap(), "a server as it comes takes 1 MiB")
}

func TestTheWindowBoundsWhatIsInFlight(t *testing.T) {
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	p := b.Publisher(bus.Rows, 2)
	release := make(chan struct{})
	for i := range 2 {
		require.NoError(t, p.Publish(t.Context(), bus.Message{ID: fmt.Sprint(i)}, func(error) { <-release }))
	}
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error)
	go func() { blocked <- p.Publish(ctx, bus.Message{ID: "third"}, func(error) {}) }()
	settles(t, b, bus.Rows, 2)
	select {
	case err := <-blocked:
		require.Fail(t, "the window is full", "%v", err)
	default:
	}
	cancel()
	require.Equal(t, fault.ReasonBrokerUnavailable, fault.ReasonOf(<-blocked))
	close(release)
	require.NoError(t, p.Flush(t.Context()))
	publish(t, b, bus.Rows, "third")
	settles(t, b, bus.Rows, 3)
}

// A stream that is full for a while loses nothing, sticks nothing and doubles nothing, with a publisher that sends far
// more than fits and a consumer that begins late.
func TestAStreamThatIsFullForAWhile(t *testing.T) {
	forms(t, func(t *testing.T, open func(int64) *bus.Bus) {
		b := open(1 << 20)
		const n, size = 60, 100 << 10
		p := b.Publisher(bus.Records, 6)
		sent := make(chan error, 1)
		var durable atomic.Int64
		go func() {
			var err error
			for i := 0; i < n && err == nil; i++ {
				err = p.Publish(t.Context(), bus.Message{ID: fmt.Sprintf("m%d", i), Body: make([]byte, size)}, func(err error) {
					if err == nil {
						durable.Add(1)
					}
				})
			}
			sent <- errors.Join(err, p.Flush(t.Context()))
		}()
		require.Eventually(t, func() bool { // full: what fits is in, the rest waits
			st, err := b.Stats(t.Context(), bus.Records)
			return err == nil && st.Bytes > st.MaxBytes-size-4096
		}, 20*time.Second, 10*time.Millisecond)
		require.Less(t, durable.Load(), int64(n))

		var mu sync.Mutex
		seen := map[string]int{}
		consume(t, b, bus.Records, bus.ConsumeOptions{Workers: 3}, handler{handle: func(_ context.Context, d bus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			seen[d.ID]++
			return nil
		}})
		require.NoError(t, <-sent)
		settles(t, b, bus.Records, 0)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, seen, n)
		require.Equal(t, int64(n), durable.Load())
		for id, times := range seen {
			require.Equal(t, 1, times, id)
		}
	})
}

func TestPublishEndsWithItsContextAndSaysWhy(t *testing.T) {
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 256 << 10})
	p := b.Publisher(bus.Rows, 4)
	ctx, cancel := context.WithCancel(t.Context())
	outcome := make(chan error, 4)
	for i := range 4 {
		require.NoError(t, p.Publish(ctx, bus.Message{ID: fmt.Sprint(i), Body: make([]byte, 100<<10)}, func(err error) { outcome <- err }))
	}
	require.NoError(t, <-outcome)
	require.NoError(t, <-outcome)
	cancel()
	for range 2 {
		err := <-outcome
		require.Equal(t, fault.ReasonBrokerUnavailable, fault.ReasonOf(err))
		require.Equal(t, fault.Unavailable, fault.ClassOf(err))
	}
	require.Error(t, p.Flush(t.Context()), "a flush tells the first failure")
	require.NoError(t, p.Flush(t.Context()), "and tells it once")
	settles(t, b, bus.Rows, 2)
}

func TestARestartKeepsMessages(t *testing.T) {
	dir := t.TempDir()
	s := bus.Settings{Dir: dir, MaxBytes: 64 << 20}
	b, err := bus.Open(t.Context(), s)
	require.NoError(t, err)
	publish(t, b, bus.Rows, "a", "b", "c")

	_, err = bus.Open(t.Context(), s)
	require.Equal(t, fault.ReasonInUse, fault.ReasonOf(err), "one process at a time")

	held := make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- b.Consume(ctx, bus.Rows, "worker", bus.ConsumeOptions{Workers: 1}, handler{handle: func(ctx context.Context, d bus.Delivery) error {
			held <- d.ID
			<-ctx.Done() // in hand when the process ends
			return ctx.Err()
		}})
	}()
	<-held
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.Error(t, b.Publisher(bus.Rows, 1).Publish(t.Context(), bus.Message{ID: "late"}, nil))

	b = openBus(t, s)
	publish(t, b, bus.Rows, "a") // the ids are known still
	settles(t, b, bus.Rows, 3)
	got := make(chan string, 8)
	consume(t, b, bus.Rows, bus.ConsumeOptions{}, handler{handle: func(_ context.Context, d bus.Delivery) error {
		require.Equal(t, 1, d.Attempt, "a restart is no attempt")
		got <- d.ID
		return nil
	}})
	settles(t, b, bus.Rows, 0)
	require.ElementsMatch(t, []string{"a", "b", "c"}, []string{<-got, <-got, <-got})
}

func TestAMessageThatFailsByItsContentGoesToQuarantineAfterFiveAttempts(t *testing.T) {
	forms(t, func(t *testing.T, open func(int64) *bus.Bus) {
		b := open(64 << 20)
		publish(t, b, bus.Rows, "good", "bad", "panics")
		var mu sync.Mutex
		attempts := map[string][]int{}
		given := make(chan string, 2)
		var reports atomic.Int64
		consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 3}, handler{
			handle: func(_ context.Context, d bus.Delivery) error {
				mu.Lock()
				attempts[d.ID] = append(attempts[d.ID], d.Attempt)
				mu.Unlock()
				switch d.ID {
				case "bad":
					return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "row 7 holds hunter2")
				case "panics":
					panic("boom")
				}
				return nil
			},
			quarantined: func(_ context.Context, d bus.Delivery, cause error) error {
				if reports.Add(1) == 1 {
					return fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the scheduler is away")
				}
				if d.ID == "panics" {
					require.Equal(t, fault.Internal, fault.ClassOf(cause))
				}
				given <- d.ID
				return nil
			},
		})
		require.ElementsMatch(t, []string{"bad", "panics"}, []string{<-given, <-given})
		settles(t, b, bus.Rows, 0)
		settles(t, b, bus.Quarantine, 2)
		require.Equal(t, []int{1, 2, 3, 4, 5}, attempts["bad"])
		require.Equal(t, []int{1, 2, 3, 4, 5}, attempts["panics"])
		require.Equal(t, []int{1}, attempts["good"])

		var headers []map[string]string
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for d := range deliveries(ctx, b, bus.Quarantine) {
			require.Equal(t, "body of "+d.ID, string(d.Body))
			headers = append(headers, d.Header)
			if len(headers) == 2 {
				break
			}
		}
		require.ElementsMatch(t, []map[string]string{
			{bus.HeaderStream: "ROWS", bus.HeaderAttempts: "5", bus.HeaderReason: "invalid_argument", bus.HeaderClass: "invalid"},
			{bus.HeaderStream: "ROWS", bus.HeaderAttempts: "5", bus.HeaderReason: "internal", bus.HeaderClass: "internal"},
		}, headers)
	})
}

// deliveries reads a stream to look at it.
func deliveries(ctx context.Context, b *bus.Bus, s bus.Stream) func(func(bus.Delivery) bool) {
	return func(yield func(bus.Delivery) bool) {
		ctx, cancel := context.WithCancel(ctx)
		ch := make(chan bus.Delivery)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = b.Consume(ctx, s, "reader", bus.ConsumeOptions{}, handler{handle: func(ctx context.Context, d bus.Delivery) error {
				select {
				case ch <- d:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}})
		}()
		for yield(<-ch) {
		}
		cancel()
		<-ended
	}
}

func TestWhatIsMissingOutsideSpendsNoDelivery(t *testing.T) {
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	publish(t, b, bus.Rows, "m")
	outside := []error{
		fault.New(fault.Unavailable, fault.ReasonStoreUnavailable, "away"),
		fault.New(fault.Throttled, fault.ReasonLimitExceeded, "slow").WithRetry(time.Millisecond),
		fault.New(fault.Conflict, fault.ReasonCommitConflict, "look again"),
	}
	var calls atomic.Int64
	done := make(chan int, 1)
	consume(t, b, bus.Rows, bus.ConsumeOptions{}, handler{handle: func(_ context.Context, d bus.Delivery) error {
		n := int(calls.Add(1))
		if n <= 7 { // more often than attempts are allowed
			return fmt.Errorf("commit: %w", outside[n%len(outside)])
		}
		done <- d.Attempt
		return nil
	}})
	require.Equal(t, 1, <-done)
	settles(t, b, bus.Rows, 0)
	settles(t, b, bus.Quarantine, 0)
}

func TestAMessageIsHeldWhileItIsInHand(t *testing.T) {
	t.Parallel()
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	publish(t, b, bus.Rows, "slow")
	var calls atomic.Int64
	over := time.NewTimer(17 * time.Second) // AckWait is 15 s
	defer over.Stop()
	consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 2}, handler{handle: func(context.Context, bus.Delivery) error {
		if calls.Add(1) == 1 {
			<-over.C
		}
		return nil
	}})
	settles(t, b, bus.Rows, 0)
	require.Equal(t, int64(1), calls.Load())
}

func TestWhatIsInHandFinishesUnderTheHardContext(t *testing.T) {
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	publish(t, b, bus.Rows, "m")
	hard, cut := context.WithCancel(t.Context())
	defer cut()
	inHand, release := make(chan struct{}), make(chan struct{})
	soft, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- b.Consume(soft, bus.Rows, "worker", bus.ConsumeOptions{Hard: hard}, handler{handle: func(ctx context.Context, _ bus.Delivery) error {
			close(inHand)
			<-release
			return ctx.Err()
		}})
	}()
	<-inHand
	stop()
	close(release)
	require.NoError(t, <-ended)
	settles(t, b, bus.Rows, 0)
}

func TestAMessageStaysOnItsStreamUntilItsHandlerIsDone(t *testing.T) {
	b := openBus(t, bus.Settings{Dir: t.TempDir(), MaxBytes: 64 << 20})
	publish(t, b, bus.Rows, "m")
	inHand := make(chan struct{})
	stop := consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 1}, handler{handle: func(ctx context.Context, _ bus.Delivery) error {
		close(inHand)
		<-ctx.Done() // the process ends with the message in hand
		return ctx.Err()
	}})
	<-inHand
	publish(t, b, bus.Rows, "n", "o") // an ack that went out before them has come to the broker by now
	stop()
	st, err := b.Stats(t.Context(), bus.Rows)
	require.NoError(t, err)
	require.EqualValues(t, 3, st.Messages, "what nobody has finished is there still")
	got := make(chan string, 3)
	consume(t, b, bus.Rows, bus.ConsumeOptions{}, handler{handle: func(_ context.Context, d bus.Delivery) error {
		got <- d.ID
		return nil
	}})
	settles(t, b, bus.Rows, 0)
	require.Len(t, got, 3, "and comes again")
}

func TestTheServerIsRestartedUnderTheBus(t *testing.T) {
	dir := t.TempDir()
	s := listen(t, dir, -1)
	port := s.Addr().(*net.TCPAddr).Port
	b := openBus(t, bus.Settings{URL: s.ClientURL(), MaxBytes: 64 << 20})
	var got sync.Map
	var n atomic.Int64
	consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 2}, handler{handle: func(_ context.Context, d bus.Delivery) error {
		if _, twice := got.LoadOrStore(d.ID, true); !twice {
			n.Add(1)
		}
		return nil
	}})
	p := b.Publisher(bus.Rows, 4)
	for i := range 10 {
		require.NoError(t, p.Publish(t.Context(), bus.Message{ID: fmt.Sprintf("before%d", i)}, nil))
	}
	require.NoError(t, p.Flush(t.Context()))
	s.Shutdown()
	s.WaitForShutdown()
	require.Eventually(t, func() bool { return b.Ready() != nil }, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, fault.ReasonBrokerUnavailable, fault.ReasonOf(b.Ready()))
	for i := range 4 {
		require.NoError(t, p.Publish(t.Context(), bus.Message{ID: fmt.Sprintf("during%d", i)}, nil))
	}
	listen(t, dir, port)
	require.NoError(t, p.Flush(t.Context()))
	require.Eventually(t, func() bool { return n.Load() == 14 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, b.Ready())
}

func TestABrokerThatLostEverythingIsSetUpAgain(t *testing.T) {
	s := listen(t, t.TempDir(), -1)
	b := openBus(t, bus.Settings{URL: s.ClientURL(), MaxBytes: 64 << 20})
	got := make(chan string, 4)
	consume(t, b, bus.Rows, bus.ConsumeOptions{Workers: 1}, handler{handle: func(_ context.Context, d bus.Delivery) error {
		got <- d.ID
		return nil
	}})
	publish(t, b, bus.Rows, "before")
	require.Equal(t, "before", <-got)
	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	for _, name := range []bus.Stream{bus.Rows, bus.Records, bus.Quarantine} {
		require.NoError(t, js.DeleteStream(t.Context(), string(name)))
	}
	publish(t, b, bus.Rows, "after")
	require.Equal(t, "after", <-got)
}

func TestStreamsAndConsumersAreBroughtToTheirConfiguration(t *testing.T) {
	s := listen(t, t.TempDir(), -1)
	openBus(t, bus.Settings{URL: s.ClientURL(), MaxBytes: 32 << 20})
	b := openBus(t, bus.Settings{URL: s.ClientURL(), MaxBytes: 64 << 20})
	consume(t, b, bus.Rows, bus.ConsumeOptions{MaxAckPending: 8}, handler{})
	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	st, err := js.Stream(t.Context(), "ROWS")
	require.NoError(t, err)
	c := st.CachedInfo().Config
	require.Equal(t, jetstream.WorkQueuePolicy, c.Retention)
	require.Equal(t, jetstream.DiscardNew, c.Discard)
	require.Equal(t, jetstream.FileStorage, c.Storage)
	require.Equal(t, int64(64<<20), c.MaxBytes)
	require.Zero(t, c.MaxAge)
	require.Eventually(t, func() bool {
		cons, err := st.Consumer(t.Context(), "worker")
		return err == nil && cons.CachedInfo().Config.MaxAckPending == 8 && cons.CachedInfo().Config.AckWait == 15*time.Second
	}, 10*time.Second, 10*time.Millisecond)
	q, err := js.Stream(t.Context(), "QUARANTINE")
	require.NoError(t, err)
	require.Equal(t, 30*24*time.Hour, q.CachedInfo().Config.MaxAge)
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	_, err := bus.Open(t.Context(), bus.Settings{URL: "nats://user:hunter2@127.0.0.1:1", ConnectWait: 300 * time.Millisecond})
	require.Equal(t, fault.ReasonBrokerUnavailable, fault.ReasonOf(err))
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.NotContains(t, err.Error(), "hunter2")
	_, err = bus.Open(t.Context(), bus.Settings{})
	require.ErrorContains(t, err, "data")
	_, err = bus.Open(t.Context(), bus.Settings{Dir: filepath.Join("/dev/null", "x")})
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
}
