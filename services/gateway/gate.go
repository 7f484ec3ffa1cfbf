package gateway

import (
	"context"
	"sync"
	"time"

	"millrace.dev/pkg/fault"
)

// retrySoon is when a request that was turned away may come again.
const retrySoon = time.Second

// gate bounds how many requests are in hand at once, and how large their bodies are together. It lets no more in once it is
// shut.
type gate struct {
	mu       sync.Mutex
	most     [2]int // of requests and of streams
	inside   [2]int
	room     int64 // bytes that more bodies may have
	stopping bool
	empty    chan struct{} // closed once it is shut and nobody is inside
}

// place is what a request has inside. It belongs to one goroutine.
type place struct {
	gate  *gate
	kind  int
	bytes int64
}

// What a gate counts apart.
const (
	requests = iota
	streams
)

func newGate(maxRequests, maxStreams int, maxBodies int64) *gate {
	return &gate{most: [2]int{maxRequests, maxStreams}, room: maxBodies, empty: make(chan struct{})}
}

// enter lets one in, which leaves its place when it is done, or says why not.
func (g *gate) enter(kind int) (*place, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.stopping:
		return nil, stopping()
	case g.inside[kind] >= g.most[kind]:
		what := [2]string{"requests", "streams"}[kind]
		return nil, fault.New(fault.Throttled, fault.ReasonLimitExceeded, "the gateway has %d %s in hand, which is all it takes; send the request again later", g.most[kind], what).WithRetry(retrySoon)
	}
	g.inside[kind]++
	return &place{gate: g, kind: kind}, nil
}

// hold makes the place one for a body of so many bytes, which it has until it is left, or says why not.
func (p *place) hold(bytes int64) error {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if bytes-p.bytes > g.room {
		return fault.New(fault.Throttled, fault.ReasonLimitExceeded, "the bodies of the requests in hand are as large as the gateway takes together; send the request again later").WithRetry(retrySoon)
	}
	g.room -= bytes - p.bytes
	p.bytes = bytes
	return nil
}

// leave gives the place back.
func (p *place) leave() {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside[p.kind]--
	g.room += p.bytes
	g.settle()
}

// shut lets nobody in any more.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.stopping {
		g.stopping = true
		g.settle()
	}
}

func (g *gate) settle() {
	if g.stopping && g.inside == [2]int{} {
		select {
		case <-g.empty:
		default:
			close(g.empty)
		}
	}
}

// wait waits until all have left, or ctx ends.
func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx) //nolint:wrapcheck // the process knows it
	}
}

// closing says whether it is shut.
func (g *gate) closing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopping
}
