package scheduler

import (
	"context"
	"time"

	"millrace.dev/pkg/bus"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/run"
	"millrace.dev/pkg/sqldb"
)

// lossCeiling is how long batches may be unaccounted for however long the streams' queues are: something that is never
// worked on must not hide for ever what was lost behind it.
const lossCeiling = time.Hour

// findLost puts parts back that are read to their end and whose batches have not been accounted for in time: for the loss
// window while nothing is under way in the streams; else for the loss limit, and what the streams held when the part last
// moved has been worked on since. Reading a part again because its batches wait in a long queue would only make it longer.
// Streams that stand still although workers ask for messages hold something that they do not deliver; nothing is waited for
// behind it.
func (k *keeper) findLost(ctx context.Context, now time.Time) error {
	open, err := parts(ctx, k.db, `WHERE state = 'extracted' AND run_id IN
		(SELECT id FROM scheduler_runs WHERE is_open = 1 AND closing = '' AND state <> 'held') ORDER BY progress_time LIMIT 1000`)
	if err != nil || len(open) == 0 {
		k.flow.forget()
		return err
	}
	holds := k.look(ctx)
	k.flow.see(holds, now, open, k.settings.LossWindow)
	allowed := k.settings.LossLimit
	if k.flow.idle(now, k.settings.LossWindow) {
		allowed = k.settings.LossWindow
	}
	for _, p := range open {
		silent := now.Sub(p.Progress)
		switch {
		case silent < k.settings.LossWindow:
			return nil // the others have moved since
		case k.flow.stands(now, k.settings.stillFor(p.Epoch)):
		case silent < allowed, k.flow.waits(p) && silent < max(lossCeiling, k.settings.LossLimit):
			continue
		}
		if err := k.putBack(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// stillFor answers how long streams must stand still before a part in this epoch is read again: twice as long with each
// epoch, since a store that is away looks the same, and each reading makes its queue longer.
func (s Settings) stillFor(epoch uint32) time.Duration {
	least := s.LossWindow + 2*bus.AckWait
	return min(least<<min(epoch, 8)/2, max(least, s.LossLimit))
}

// content is what the streams hold; false where nobody knows.
type content struct {
	known         bool
	rows, records bus.Stats
}

// asked says whether something is under way, and workers ask for more wherever it is.
func (c content) asked() bool {
	return (c.rows.UnderWay() || c.records.UnderWay()) &&
		(!c.rows.UnderWay() || c.rows.Asking > 0) && (!c.records.UnderWay() || c.records.Asking > 0)
}

// like says whether the streams hold the same messages in the same hands.
func (c content) like(o content) bool {
	same := func(a, b bus.Stats) bool {
		return a.Messages == b.Messages && a.Pending == b.Pending && a.AckPending == b.AckPending && a.Oldest.Equal(b.Oldest)
	}
	return same(c.rows, o.rows) && same(c.records, o.records)
}

// look asks what the streams hold. Rows are looked at before records, so that a message that moves on between the two
// looks is seen.
func (k *keeper) look(ctx context.Context) (h content) {
	if k.streams == nil {
		return content{}
	}
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	var err error
	if h.rows, err = k.streams.Stats(ctx, bus.Rows); err != nil {
		return content{}
	}
	if h.records, err = k.streams.Stats(ctx, bus.Records); err != nil {
		return content{}
	}
	h.known = true
	return h
}

// flow is what the keeper has seen of messages under way. The zero value has seen nothing.
type flow struct {
	idleSince time.Time // since when nothing was under way; zero: something is, or nobody knows
	last      content   // as seen last
	stillFrom time.Time // since when the streams hold that, and workers ask for more; zero: they do not, or nobody knows
	passed    map[passing]time.Time
	waiting   map[passing]bool
}

// passing is a part that has stood still since an instant.
type passing struct {
	part  id.Part
	epoch uint32
	since time.Time
}

func passingOf(p partRow) passing {
	return passing{id.Part{Run: p.Run, Part: p.Part}, p.Epoch, p.Progress}
}

func (f *flow) forget() { *f = flow{} }

// see takes in what the streams hold. A part waits as long as ROWS holds a message that is no younger than the part's
// last move, or RECORDS one that is no younger than when ROWS was seen to have passed that point. Margin makes up for
// clocks that differ.
func (f *flow) see(h content, now time.Time, open []partRow, margin time.Duration) {
	switch {
	case !h.known || h.rows.UnderWay() || h.records.UnderWay():
		f.idleSince = time.Time{}
	case f.idleSince.IsZero():
		f.idleSince = now
	}
	if still := h.known && h.asked() && h.like(f.last); !still {
		f.stillFrom = time.Time{}
	} else if f.stillFrom.IsZero() {
		f.stillFrom = now
	}
	f.last = h
	before := f.passed
	f.passed, f.waiting = map[passing]time.Time{}, map[passing]bool{}
	if !h.known {
		return
	}
	for _, p := range open {
		at := passingOf(p)
		passed, ok := before[at]
		if !ok && (!h.rows.UnderWay() || h.rows.Oldest.After(p.Progress.Add(margin))) {
			passed, ok = now, true
		}
		if ok {
			f.passed[at] = passed
		}
		f.waiting[at] = !ok || h.records.UnderWay() && !h.records.Oldest.After(passed.Add(margin))
	}
}

// idle says whether nothing has been under way for the window.
func (f *flow) idle(now time.Time, window time.Duration) bool {
	return !f.idleSince.IsZero() && now.Sub(f.idleSince) >= window
}

// stands says whether the streams have stood still for that long.
func (f *flow) stands(now time.Time, long time.Duration) bool {
	return !f.stillFrom.IsZero() && now.Sub(f.stillFrom) >= long
}

// waits says whether batches of a part may still be in a queue.
func (f *flow) waits(p partRow) bool { return f.waiting[passingOf(p)] }

// putBack makes a part wait for a new lease because batches of it were lost. It is no try.
func (k *keeper) putBack(ctx context.Context, l partRow) error {
	lost := false
	err := k.reports.do(ctx, func(ctx context.Context, tx *sqldb.Tx, _ time.Time) error {
		lost = false
		p, err := getPart(ctx, tx, l.Run, l.Part)
		if err != nil || p.State != run.Extracted || p.Epoch != l.Epoch || p.Progress.After(l.Progress) {
			return err
		}
		if p.State, err = run.NextPart(p.State, run.BatchesLost); err != nil {
			return err
		}
		lost = true
		return updatePart(ctx, tx, p)
	})
	if err != nil || !lost {
		return err
	}
	k.metrics.lost.WithLabelValues("batch").Inc()
	k.log.WarnContext(ctx, "published batches are not accounted for; the part is read again", "run", l.Run.String(), "part", l.Part,
		"epoch", l.Epoch, "batches", l.ReadBatches, "settled", l.Settled)
	k.changed.ring()
	return nil
}
