// Package bus passes batches through NATS JetStream: publish with a bounded window, pull with a bounded budget, on a
// server embedded in the process or on a cluster by URL.
//
// The broker is a pipe: what it loses is read again from the warehouse, what it delivers twice has no second effect.
package bus

import "context"

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
	// Handle works on one delivery. Nil acks it. An Unavailable, Throttled or Conflict error is tried again in place
	// with backoff, the message held by InProgress, and spends no delivery. Any other error spends one.
	Handle(ctx context.Context, d Delivery) error
	// Quarantined is told that a message was given up after its last attempt and stands in QUARANTINE. The message is
	// acked once it returns nil.
	Quarantined(ctx context.Context, d Delivery, cause error) error
}

// Bus is a connection to the broker. Safe for concurrent use.
type Bus struct{}
