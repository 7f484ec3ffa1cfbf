package bigquery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace.dev/pkg/fault"
)

// streams reads streams beside one another and hands their batches over one by one. Each is at most one batch ahead of
// the receiver, beside what the transport buffers. It stops without an error when each answers false.
func (s *Source) streams(ctx context.Context, names []string, planned bool, d *query, each func(arrow.RecordBatch) bool) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	g, inner := errgroup.WithContext(inner)
	batches := make(chan arrow.RecordBatch)
	for _, name := range names {
		g.Go(func() error {
			return s.stream(inner, name, planned, d, func(b arrow.RecordBatch) error {
				select {
				case batches <- b:
					return nil
				case <-inner.Done():
					b.Release()
					return fmt.Errorf("hand over a batch: %w", inner.Err())
				}
			})
		})
	}
	ended := make(chan error, 1)
	go func() {
		ended <- g.Wait()
		close(batches)
	}()
	stopped := false
	for b := range batches {
		if !stopped && !each(b) {
			stopped = true
			cancel()
		}
		b.Release()
	}
	err := <-ended
	switch {
	case stopped || err == nil:
		return nil
	case ctx.Err() != nil:
		return fault.As(ctx.Err())
	}
	return err
}

// stream reads one stream to its end. Where it breaks off, it goes on behind the last row that came.
func (s *Source) stream(ctx context.Context, name string, planned bool, d *query, each func(arrow.RecordBatch) error) error {
	waits, tries, at := s.client.waits(), 0, int64(0)
	renewed := false
	for {
		before := at
		err := s.readFrom(ctx, name, &at, d, each)
		if err == nil {
			return nil
		}
		if at > before {
			waits, tries = s.client.waits(), 0
		}
		tries++
		if status.Code(err) == codes.Unauthenticated && !renewed {
			renewed = true
			s.client.tokens.renew()
			continue
		}
		if tries >= s.settings.Tries || !resumable(err) || ctx.Err() != nil {
			return streamFault(ctx, err, planned)
		}
		if err := pause(ctx, waits.NextBackOff()); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.As(ctx.Err())
	}
}

// readFrom reads a stream from row *at on, and moves *at behind each batch that was handed over. A stream that says
// nothing for as long as a call may take is given up.
func (s *Source) readFrom(ctx context.Context, name string, at *int64, d *query, each func(arrow.RecordBatch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silent := time.AfterFunc(s.settings.RequestTimeout, cancel)
	defer silent.Stop()
	rows, err := s.client.storage.ReadRows(ctx, &storagepb.ReadRowsRequest{ReadStream: name, Offset: *at})
	if err != nil {
		return err //nolint:wrapcheck // a status, classified by stream
	}
	dec := decoder{query: d, mem: s.settings.Allocator}
	for {
		silent.Reset(s.settings.RequestTimeout)
		m, err := rows.Recv()
		silent.Stop()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err //nolint:wrapcheck // a status, classified by stream
		}
		b, err := dec.batch(m)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		n := b.NumRows()
		if err := each(b); err != nil {
			return err
		}
		*at += n
	}
}

// unwrapPermanent answers what a retried call ended with.
func unwrapPermanent(err error) error {
	var last *backoff.PermanentError
	if errors.As(err, &last) {
		return last.Err
	}
	return err
}
