package bus

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// defaultBacklog is Settings.Backlog where nothing is said.
	defaultBacklog = 32 << 20
	// looksPerBacklog is how often the broker is asked while as much as a backlog is published.
	looksPerBacklog = 8
	// longestStandstill is how long a full stream may stand still before it is written to nevertheless: its consumer may
	// never take what is in it, and what is sent again must get by.
	longestStandstill = 5 * time.Second
)

// brake holds producers of a stream back while its consumer is behind: what waits in a stream costs the broker memory, and
// the other syncs time.
type brake struct {
	unseen      atomic.Int64  // bytes published by this process since the broker was asked, and 1; 0: it never was
	undelivered atomic.Uint64 // the first message of a stream whose workers ask and get nothing; 0: none
}

// Room returns once the messages of a data stream take less than Settings.Backlog, or have stood still for a while. Where
// they do although workers ask for them, nobody waits any more: the broker does not deliver what it has. Ask it before
// work is taken that ends in a Publish; it costs a request once in a while. Where the broker does not answer, there is
// room: Publish waits it out. The error is ctx's.
func (b *Bus) Room(ctx context.Context, s Stream) error {
	k := b.brakes[s]
	if n := k.unseen.Load(); n > 0 && n < b.backlog/looksPerBacklog {
		return nil
	}
	ctx, cancel := b.within(ctx)
	defer cancel()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.Multiplier = 10*time.Millisecond, 250*time.Millisecond, 2
	var was content
	var since time.Time
	for {
		is, ok := b.content(ctx, s)
		if ctx.Err() != nil {
			return unavailable("wait for room in "+string(s), context.Cause(ctx))
		}
		if !ok || is.bytes < b.backlog || is.first == k.undelivered.Load() {
			break
		}
		if is != was {
			was, since = is, time.Now()
		}
		if time.Since(since) >= b.standstill {
			if b.asked(ctx, s) {
				k.undelivered.Store(is.first)
			}
			break
		}
		wait(ctx, pause.NextBackOff())
	}
	k.unseen.Store(1)
	return nil
}

// content is what tells whether a stream moves.
type content struct {
	first, last uint64
	bytes       int64
}

func (b *Bus) content(ctx context.Context, s Stream) (content, bool) {
	stream, err := b.js.Stream(ctx, string(s))
	if err != nil {
		return content{}, false
	}
	st := stream.CachedInfo().State
	return content{first: st.FirstSeq, last: st.LastSeq, bytes: int64(st.Bytes)}, true //nolint:gosec // MaxBytes is signed
}

// asked says whether workers wait for messages of a stream.
func (b *Bus) asked(ctx context.Context, s Stream) bool {
	st, err := b.Stats(ctx, s)
	return err == nil && st.Asking > 0
}

// published counts a message that a stream has taken.
func (k *brake) published(bytes int) { k.unseen.Add(int64(bytes)) }
