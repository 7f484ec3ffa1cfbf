package bus

import (
	"context"
	"sync"
)

// link ends what waits for an answer of the broker when the connection is lost: the answer will not come any more.
type link struct {
	life context.Context //nolint:containedctx // of the bus
	mu   sync.Mutex
	up   context.Context //nolint:containedctx // the life of the present connection
	down context.CancelFunc
}

func newLink(ctx context.Context) *link {
	l := &link{life: ctx}
	l.up, l.down = context.WithCancel(ctx)
	return l
}

// lost ends what waits on the present connection; what begins from now on waits for the next.
func (l *link) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down()
	l.up, l.down = context.WithCancel(l.life)
}

// during answers ctx that also ends when the present connection does.
func (l *link) during(ctx context.Context) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(up, cancel)
	return ctx, func() { stop(); cancel() }
}
