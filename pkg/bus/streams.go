package bus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/fault"
)

// AckWait is how long a message may be in hand without a sign of life; then it is delivered again.
const AckWait = 15 * time.Second

const (
	// dedupeWindow is how long the broker remembers a message id.
	dedupeWindow = 2 * time.Minute
	// quarantineAge is how long given-up messages are kept.
	quarantineAge = 30 * 24 * time.Hour
	// restoreDelay is how long after a stream was found missing it is made.
	restoreDelay = time.Second
	// smallest MaxBytes of a data stream.
	minStream = 64 << 20
)

// subject answers the subject that a stream's messages are published to.
func subject(s Stream) string {
	switch s {
	case Rows:
		return "millrace.rows"
	case Records:
		return "millrace.records"
	default:
		return "millrace.quarantine"
	}
}

func quarantineBytes(maxBytes int64) int64 { return maxBytes / 4 }

// reserved answers the sum of MaxBytes over the streams.
func reserved(maxBytes int64) int64 { return 2*maxBytes + quarantineBytes(maxBytes) }

// configs answers the streams as they have to be.
func configs(maxBytes int64, replicas int) []jetstream.StreamConfig {
	data := func(s Stream) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: string(s), Subjects: []string{subject(s)}, Storage: jetstream.FileStorage, Replicas: max(1, replicas),
			Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxBytes: maxBytes, MaxMsgs: -1,
			Duplicates: dedupeWindow,
		}
	}
	q := data(Quarantine)
	q.Retention, q.Discard, q.MaxAge, q.MaxBytes = jetstream.LimitsPolicy, jetstream.DiscardOld, quarantineAge, quarantineBytes(maxBytes)
	return []jetstream.StreamConfig{data(Rows), data(Records), q}
}

// reconcile makes the streams, or changes them to their configuration.
func (b *Bus) reconcile(ctx context.Context) error {
	b.reconMu.Lock()
	defer b.reconMu.Unlock()
	for _, c := range configs(b.maxBytes, b.settings.Replicas) {
		if err := b.makeStream(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// makeTimeout bounds one request for a stream: a cluster that is asked for the same stream by several processes at once
// does not answer all of them.
const makeTimeout = 3 * time.Second

func (b *Bus) makeStream(ctx context.Context, c jetstream.StreamConfig) error {
	ctx, cancel := context.WithTimeout(ctx, makeTimeout)
	defer cancel()
	_, err := b.js.CreateOrUpdateStream(ctx, c)
	if !offline(err) || c.Retention != jetstream.WorkQueuePolicy {
		return err //nolint:wrapcheck // retry and its callers say what was being done
	}
	b.log.Warn("the broker keeps a stream shut because it can not read part of it; the stream is made anew, what it held is read again",
		"stream", c.Name, "error", err)
	if err := b.js.DeleteStream(ctx, c.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err //nolint:wrapcheck // as above
	}
	_, err = b.js.CreateOrUpdateStream(ctx, c)
	return err //nolint:wrapcheck // as above
}

// streamOffline is the broker's error code, which jetstream has no name for, of a stream that it keeps shut.
const streamOffline = 10194

// offline says whether a stream is there but shut for good: a file of it or of one of its consumers has what this broker
// does not know.
func offline(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == streamOffline
}

// restore makes streams that are missing, and says whether that went well. It waits a little first: a stream that is made
// while another connection's deletion of it is under way takes no messages afterwards.
func (b *Bus) restore(ctx context.Context) bool {
	return wait(ctx, restoreDelay) && b.reconcile(ctx) == nil // where it fails, the next try finds them missing again
}

// consumerConfig answers a durable consumer of a stream as it has to be.
func consumerConfig(durable string, maxAckPending int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: AckWait, MaxDeliver: -1,
		MaxAckPending: maxAckPending, DeliverPolicy: jetstream.DeliverAllPolicy,
	}
}

// forget drops what the embedded server remembers of a durable from an earlier process. Nobody else consumes from it, so
// what that process had in hand is delivered again at once and not after AckWait. It does so once for each durable.
func (b *Bus) forget(ctx context.Context, s Stream, durable string) error {
	b.reconMu.Lock()
	defer b.reconMu.Unlock()
	key := string(s) + "/" + durable
	if b.server == nil || b.fresh[key] {
		return nil
	}
	if err := b.js.DeleteConsumer(ctx, string(s), durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err //nolint:wrapcheck // retry says what was being done
	}
	b.fresh[key] = true
	return nil
}

// fitDisk answers the MaxBytes of a data stream such that the sum of all streams stays under 70 % of the disk space
// that the embedded server can have: what is free and what it holds already.
func (b *Bus) fitDisk() (int64, error) {
	if err := os.MkdirAll(b.settings.Dir, 0o700); b.settings.Dir != "" && err != nil {
		return 0, fault.New(fault.Precondition, fault.ReasonPathForbidden, "the broker's folder can not be made; mend its permissions or set data to another folder: %w", err)
	}
	free, ok := freeBytes(b.settings.Dir)
	if !ok {
		return b.maxBytes, nil
	}
	fit := fitBytes(b.maxBytes, free+used(b.settings.Dir))
	if fit < min(minStream, b.maxBytes) {
		return 0, fault.New(fault.Precondition, fault.ReasonLimitExceeded,
			"the disk of %s has %d MiB free, too little for the broker; free at least %d MiB or set data to another disk",
			b.settings.Dir, free>>20, (reserved(minStream)*10/7)>>20+1)
	}
	if fit < b.maxBytes {
		b.log.Info("the streams are scaled down to fit 70 % of the free disk", "wanted_bytes", b.maxBytes, "max_bytes", fit)
	}
	return fit, nil
}

// fitBytes scales want down until all streams together fit 70 % of space.
func fitBytes(want, space int64) int64 {
	budget := space / 10 * 7
	if reserved(want) <= budget {
		return want
	}
	return budget / 9 * 4 // reserved(x) = 9/4 x
}

// used answers the bytes of the files under dir.
func used(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil //nolint:nilerr // what can not be read counts for nothing
		}
		if i, err := e.Info(); err == nil {
			n += i.Size()
		}
		return nil
	})
	return n
}

// Stats is what a stream holds. The figures are not of one instant.
type Stats struct {
	Messages   int64 // in the stream
	Bytes      int64
	MaxBytes   int64
	Pending    int64 // not delivered yet
	AckPending int64 // in some worker's hand, or waiting to be delivered again
	Asking     int64 // pulls of workers that wait for a message
	// Oldest is when the oldest message was published, by the broker's clock; zero where there is none.
	Oldest time.Time
}

// UnderWay says whether any message is to be worked on.
func (s Stats) UnderWay() bool { return s.Pending+s.AckPending > 0 }

// Unaccounted answers the messages that are neither pending nor in hand. On a stream with a consumer at rest it is 0.
func (s Stats) Unaccounted() int64 { return s.Messages - s.Pending - s.AckPending }

// Stats answers what a stream holds. On a stream without a consumer every message is pending.
func (b *Bus) Stats(ctx context.Context, s Stream) (Stats, error) {
	ctx, cancel := b.within(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, string(s))
	if err != nil {
		return Stats{}, unavailable("ask for "+string(s), err)
	}
	info := stream.CachedInfo()
	out := Stats{
		Messages: int64(info.State.Msgs), Bytes: int64(info.State.Bytes), MaxBytes: info.Config.MaxBytes, //nolint:gosec // counts fit
		Pending: int64(info.State.Msgs), //nolint:gosec // counts fit
	}
	if out.Messages > 0 {
		out.Oldest = info.State.FirstTime
	}
	consumers := stream.ListConsumers(ctx)
	first := true
	for c := range consumers.Info() {
		if first {
			out.Pending, first = 0, false
		}
		out.Pending += int64(c.NumPending) //nolint:gosec // counts fit
		out.AckPending += int64(c.NumAckPending)
		out.Asking += int64(c.NumWaiting)
	}
	if err := consumers.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return Stats{}, unavailable("ask for the consumers of "+string(s), err)
	}
	return out, nil
}

// Extent is the numbers of the messages in a stream: those that come get higher ones.
type Extent struct {
	First, Last uint64 // First is Last+1 where the stream is empty
}

// Extent answers the numbers of the messages that a stream has. A message of a data stream goes when it is done with.
func (b *Bus) Extent(ctx context.Context, s Stream) (Extent, error) {
	ctx, cancel := b.within(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, string(s))
	if err != nil {
		return Extent{}, unavailable("ask for "+string(s), err)
	}
	state := stream.CachedInfo().State
	return Extent{First: state.FirstSeq, Last: state.LastSeq}, nil
}

// QuarantineAge is how long given-up messages are kept.
const QuarantineAge = quarantineAge
