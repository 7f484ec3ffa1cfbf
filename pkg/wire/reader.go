package wire

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Limits bound what a stream from elsewhere may make Arrow's reader take, in bytes. All are above zero.
type Limits struct {
	Metadata int64 // of one message
	Body     int64 // of one message, as it is sent
	Piece    int64 // of one piece of memory, such as a column's values where they were compressed
}

// Reader reads an Arrow IPC stream that came from elsewhere, whose schema is checked as Schema does, with memory of a.
// What goes beyond the limits is an error, or a panic with one: whoever reads recovers, as from what Arrow's reader
// panics over itself. The caller releases it. Arrays may still reach beyond their buffers.
func Reader(stream io.Reader, a memory.Allocator, l Limits) (*ipc.Reader, error) {
	stream, err := Schema(stream, l.Metadata)
	if err != nil {
		return nil, err
	}
	with := ipc.WithAllocator(Capped(a, l.Piece))
	// ipc.NewReader does not go by the limits of messages.
	messages := ipc.NewMessageReader(stream, with, ipc.WithMetadataSizeLimit(l.Metadata), ipc.WithBodySizeLimit(l.Body))
	r, err := ipc.NewReaderFromMessageReader(messages, with)
	if err != nil {
		return nil, fmt.Errorf("read a schema: %w", err)
	}
	return r, nil
}

// Capped answers an allocator that gives memory of a, in pieces of at most so many bytes: it panics over larger ones, so
// that a reader of what came from elsewhere takes no more than that for what a header claims. Whoever reads recovers.
func Capped(a memory.Allocator, most int64) memory.Allocator {
	return &capped{Allocator: a, most: most}
}

type capped struct {
	memory.Allocator
	most int64
}

func (c *capped) fits(n int) {
	if n < 0 || int64(n) > c.most {
		panic(errMemory) //nolint:forbidigo // the allocator's interface has no error; whoever reads recovers
	}
}

// Allocate answers n bytes.
func (c *capped) Allocate(n int) []byte {
	c.fits(n)
	return c.Allocator.Allocate(n)
}

// Reallocate answers n bytes that begin with old.
func (c *capped) Reallocate(n int, old []byte) []byte {
	c.fits(n)
	return c.Allocator.Reallocate(n, old)
}
