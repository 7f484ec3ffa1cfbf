package snowflake

import (
	"context"
	"errors"
	"io"
	"sync"

	client "github.com/snowflakedb/gosnowflake/v2"

	"millrace.dev/pkg/fault"
)

// chunkTries is how often a chunk is fetched before the part is given up.
const chunkTries = 3

// chunk is one chunk of a result, whole: an Arrow stream.
type chunk struct {
	data []byte
	rows int64
	err  error
}

// chunks fetches a result's chunks in their order, at most `ahead` before they are asked for, and calls each with them
// until it answers false. Whatever was begun has ended when it returns.
func (x *session) chunks(ctx context.Context, batches []client.ArrowStreamBatch, each func(chunk) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	pending := make(chan chan chunk, x.s.settings.Ahead-1)
	wg.Go(func() {
		defer close(pending)
		for i := range batches {
			one := make(chan chunk, 1)
			select {
			case pending <- one:
			case <-ctx.Done():
				return
			}
			wg.Go(func() { one <- x.fetch(ctx, &batches[i]) })
		}
	})
	for one := range pending {
		c := <-one
		if c.err != nil {
			return c.err
		}
		if more, err := each(c); err != nil || !more {
			return err
		}
	}
	return ended(ctx)
}

// fetch reads one chunk whole, so that one that breaks off is read again without a row twice.
func (x *session) fetch(ctx context.Context, b *client.ArrowStreamBatch) chunk {
	ctx, note := withCall(ctx)
	var err error
	for range chunkTries {
		var data []byte
		if data, err = x.download(ctx, b); err == nil {
			return chunk{data: data, rows: b.NumRows()}
		}
		if ctx.Err() != nil || errors.Is(err, errTooLarge) || note.throttled > 0 || note.downgrade || numberOf(err) != 0 {
			break
		}
		_ = b.Reset() // what broke off is of no more use
	}
	if errors.Is(err, errTooLarge) {
		return chunk{err: fault.New(fault.Precondition, fault.ReasonLimitExceeded, "a chunk of the result is larger than the driver takes; select fewer or smaller columns")}
	}
	return chunk{err: classify(ctx, note, &chunkError{err}, 0)}
}

func (x *session) download(ctx context.Context, b *client.ArrowStreamBatch) (data []byte, err error) {
	defer recovered(&err)
	stream, err := b.GetStream(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by the caller
	}
	defer func() { _ = stream.Close() }()
	data, err = io.ReadAll(io.LimitReader(stream, x.s.settings.MaxChunk+1))
	if err == nil && int64(len(data)) > x.s.settings.MaxChunk {
		err = errTooLarge
	}
	return data, err //nolint:wrapcheck // classified by the caller
}

// chunkError says that a chunk of a result could not be fetched.
type chunkError struct{ err error }

func (e *chunkError) Error() string { return "a chunk of the result was not fetched: " + e.err.Error() }
func (e *chunkError) Unwrap() error { return e.err }

// ended answers why ctx ended, nil while it has not.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fault.As(err)
	}
	return nil
}
