package histories_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"millrace.dev/pkg/id"
)

// broker is a connection of the test's own to the mesh's broker: it sees every message and takes some away.
type broker struct {
	stage *stage
	nc    *nats.Conn
	js    jetstream.JetStream
	sent  atomic.Int64 // copies

	mu     sync.Mutex
	paused map[string]int // by stream: how many ambushes keep its consumer from working
}

// durables are the consumers of the streams.
func durables() map[string]string { return map[string]string{onRows: "mapper", onRecords: "ingestion"} }

func newBroker(ctx context.Context, url string, s *stage) (*broker, error) {
	nc, err := nats.Connect(url, nats.Name("histories"), nats.Timeout(30*time.Second))
	if err != nil {
		return nil, err
	}
	b := &broker{stage: s, nc: nc, paused: map[string]int{}}
	if b.js, err = jetstream.New(nc); err != nil {
		return nil, err
	}
	for stream := range durables() {
		st, err := b.js.Stream(ctx, stream)
		if err != nil {
			return nil, err
		}
		sub, err := nc.Subscribe(st.CachedInfo().Config.Subjects[0], func(m *nats.Msg) { b.seen(stream, m) })
		if err != nil {
			return nil, err
		}
		if err := sub.SetPendingLimits(-1, -1); err != nil {
			return nil, err
		}
	}
	return b, nc.Flush()
}

// batchOf answers the batch of a message, false for the test's own copies.
func batchOf(h nats.Header) (id.Batch, bool) {
	b, err := id.ParseBatch(h.Get(jetstream.MsgIDHeader))
	return b, err == nil
}

// seen is told of every message as it is published.
func (b *broker) seen(stream string, m *nats.Msg) {
	name, ok := batchOf(m.Header)
	if !ok {
		return
	}
	p := b.stage.of(name.Run.String())
	if p == nil {
		return
	}
	p.mu.Lock()
	if a := p.ambush; a != nil && a.stream == stream && a.name == "" {
		a.name = name.String()
		close(a.came)
	}
	p.mu.Unlock()
	f, ok := p.next(stream)
	if !ok {
		return
	}
	switch f.kind {
	case rowsTwice, recordsTwice:
		_, err := b.send(m, "twice")
		p.failed(err)
		p.made(f.kind)
	case rowsAfter, recordsAfter:
		p.mu.Lock()
		p.copies = append(p.copies, copied{stream, m})
		p.mu.Unlock()
		p.made(f.kind)
	case mapperCut:
		b.stage.mapper.cut()
		p.made(f.kind)
	case ingestionCut:
		b.stage.ingestion.cut()
		p.made(f.kind)
	case extractorCut:
		if !b.stage.steady.TryLock() {
			b.stage.mapper.cut() // another seed's snapshot must live
			p.made(mapperCut)
			return
		}
		b.stage.extractor.cut()
		b.stage.steady.Unlock()
		p.made(f.kind)
	}
}

// copied is a message that is to be sent once more.
type copied struct {
	stream string
	msg    *nats.Msg
}

// send publishes a message under another id, so that the broker takes it, and answers its place in the stream.
func (b *broker) send(m *nats.Msg, why string) (uint64, error) {
	c := nats.NewMsg(m.Subject)
	c.Data = m.Data
	for k, v := range m.Header {
		c.Header[k] = v
	}
	c.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s#%s-%d", m.Header.Get(jetstream.MsgIDHeader), why, b.sent.Add(1)))
	f, err := b.js.PublishMsgAsync(c)
	if err != nil {
		return 0, err
	}
	if why == "twice" {
		return 0, nil // sent from the connection's own goroutine, which must not wait
	}
	select {
	case a := <-f.Ok():
		return a.Sequence, nil
	case err := <-f.Err():
		return 0, err
	}
}

// ambush waits for the next message of a run on a stream whose consumer is kept from taking it, and takes it away.
type ambush struct {
	stream string
	name   string // of the message
	came   chan struct{}
}

// ambushFor bounds the wait for a message.
const ambushFor = 700 * time.Millisecond

// ambush lays an ambush. The consumer stands when it returns.
func (b *broker) ambush(ctx context.Context, p *plot, f mishap) {
	a := &ambush{stream: onRows, came: make(chan struct{})}
	if strings.Contains(f.kind, onRecords) {
		a.stream = onRecords
	}
	p.mu.Lock()
	busy := p.ambush != nil
	if !busy {
		p.ambush = a
	}
	p.mu.Unlock()
	if busy {
		p.again(f)
		return
	}
	ctx = context.WithoutCancel(ctx)
	p.failed(b.pause(ctx, a.stream))
	go func() {
		limit := time.NewTimer(ambushFor)
		defer limit.Stop()
		struck := false
		select {
		case <-a.came:
			var err error
			struck, err = b.strike(ctx, p, f, a)
			p.failed(err)
		case <-limit.C:
		}
		p.mu.Lock()
		p.ambush = nil
		p.mu.Unlock()
		p.failed(b.resume(ctx, a.stream))
		if struck {
			p.made(f.kind)
		} else {
			p.again(f)
		}
	}()
}

// strike takes the message of an ambush away; false: it is not there.
func (b *broker) strike(ctx context.Context, p *plot, f mishap, a *ambush) (bool, error) {
	st, err := b.js.Stream(ctx, a.stream)
	if err != nil {
		return false, err
	}
	m, err := b.find(ctx, st, a.name)
	if m == nil || err != nil {
		return false, err
	}
	if f.kind == rowsPurged || f.kind == recordsPurged {
		return true, st.Purge(ctx)
	}
	if err := st.DeleteMsg(ctx, m.Sequence); errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return false, nil // another seed purged the stream
	} else if err != nil {
		return false, err
	}
	if f.kind == rowsLate || f.kind == recordsLate {
		name, _ := batchOf(m.Header)
		p.mu.Lock()
		p.late[part{name.Run.String(), name.Part, name.Epoch}] = &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data}
		p.mu.Unlock()
	}
	return true, nil
}

// find answers the message of that name, which is among the last of the stream; nil where it is not.
func (b *broker) find(ctx context.Context, st jetstream.Stream, name string) (*jetstream.RawStreamMsg, error) {
	for range 20 { // it may have been seen before it is stored
		info, err := st.Info(ctx)
		if err != nil {
			return nil, err
		}
		for seq := info.State.LastSeq; seq >= info.State.FirstSeq && seq+64 > info.State.LastSeq && seq > 0; seq-- {
			m, err := st.GetMsg(ctx, seq)
			if err != nil {
				continue // taken by others
			}
			if m.Header.Get(jetstream.MsgIDHeader) == name {
				return m, nil
			}
		}
		wait(ctx, 2*time.Millisecond)
	}
	return nil, nil
}

// pause keeps a stream's consumer from working until as many calls of resume, or for three seconds.
func (b *broker) pause(ctx context.Context, stream string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused[stream]++
	_, err := b.js.PauseConsumer(ctx, stream, durables()[stream], time.Now().Add(3*time.Second))
	return err
}

func (b *broker) resume(ctx context.Context, stream string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.paused[stream]--; b.paused[stream] > 0 {
		return nil
	}
	_, err := b.js.ResumeConsumer(ctx, stream, durables()[stream])
	return err
}

// settle sends the copies that were kept until the run was over, and waits until nothing of them is left.
func (b *broker) settle(ctx context.Context, p *plot) error {
	p.mu.Lock()
	copies := p.copies
	p.copies = nil
	p.mu.Unlock()
	for _, c := range copies {
		if _, err := b.send(c.msg, "after"); err != nil {
			return err
		}
	}
	if len(copies) == 0 {
		return nil
	}
	for _, stream := range []string{onRows, onRecords} {
		st, err := b.js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := st.Info(ctx)
		if err != nil {
			return err
		}
		for last := info.State.LastSeq; ; wait(ctx, 20*time.Millisecond) {
			if info, err = st.Info(ctx); err != nil {
				return err
			}
			if info.State.Msgs == 0 || info.State.FirstSeq > last {
				break
			}
		}
	}
	return nil
}

// wait waits d, or less where ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
