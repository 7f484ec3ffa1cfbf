package trace

import (
	"context"
	"time"

	"millrace.dev/pkg/sqldb"
)

const (
	writeSpans   = 1024             // of one transaction
	lastSpans    = 256              // of one at the end, which must not take long
	writeTimeout = 10 * time.Second // of one attempt
	writeGiveUp  = 30 * time.Second // after which a group of spans is lost
	writeAgain   = time.Second
)

// writeAll writes what waits, group by group, until soft ends. A group that the database does not take is tried again for a
// while, in which the inbox fills and then refuses.
func (s *Service) writeAll(soft, hard context.Context) {
	for soft.Err() == nil {
		db := s.db.Load()
		if db == nil {
			return
		}
		group := s.inbox.take(writeSpans)
		if len(group) == 0 {
			return
		}
		s.insist(soft, hard, db, group)
		for s.total.Load() > s.settings.MaxBytes && s.deleteOldest(hard, db) {
		}
	}
}

// insist writes a group, or counts it as lost; when soft ends before either it waits again.
func (s *Service) insist(soft, hard context.Context, db *sqldb.DB, group []span) {
	giveUp := time.NewTimer(writeGiveUp)
	defer giveUp.Stop()
	for {
		start := time.Now()
		err := s.attempt(hard, db, group, writeTimeout)
		if err == nil {
			s.metrics.write.Observe(time.Since(start).Seconds())
			s.metrics.count("written", len(group))
			if s.away.Swap(false) {
				s.log.Info("the database of traces takes spans again")
			}
			return
		}
		if !s.away.Swap(true) {
			s.log.Warn("spans can not be written; they are tried again, and lost after a while", "error", err)
		}
		again := time.NewTimer(writeAgain)
		select {
		case <-soft.Done():
			again.Stop()
			s.inbox.back(group)
			return
		case <-giveUp.C:
			again.Stop()
			s.metrics.count("lost", len(group))
			return
		case <-again.C:
		}
	}
}

// writeLast writes what waits, until ctx ends. Nobody waits at the end for a database that is away: what it does not take at
// the first attempt is lost.
func (s *Service) writeLast(ctx context.Context) {
	db := s.db.Load()
	if db == nil {
		return
	}
	for {
		group := s.inbox.take(lastSpans)
		if len(group) == 0 {
			return
		}
		if err := s.attempt(ctx, db, group, lastTimeout); err != nil {
			group = append(group, s.inbox.take(s.inbox.len())...)
			s.metrics.count("lost", len(group))
			s.log.Warn("the last spans could not be written", "spans", len(group), "error", err)
			return
		}
		s.metrics.count("written", len(group))
	}
}

func (s *Service) attempt(ctx context.Context, db *sqldb.DB, group []span, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.write(ctx, db, group)
}

// write makes spans durable with what follows from them for their traces. It is idempotent by span id.
func (s *Service) write(ctx context.Context, db *sqldb.DB, group []span) error {
	var grown, beyond int64
	now := time.Now()
	err := db.Tx(ctx, func(tx *sqldb.Tx) error {
		grown, beyond = 0, 0
		for _, spans := range byTrace(group) {
			g, b, err := s.writeTrace(ctx, tx, spans, now)
			if err != nil {
				return err
			}
			grown, beyond = grown+g, beyond+b
		}
		return nil
	})
	if err != nil {
		return err //nolint:wrapcheck // classified by sqldb
	}
	s.metrics.count("beyond", int(beyond))
	s.metrics.bytes.Set(float64(s.total.Add(grown)))
	return nil
}

// writeTrace adds spans to their trace, and answers by how many bytes it has grown and how many spans it had no room for.
func (s *Service) writeTrace(ctx context.Context, tx *sqldb.Tx, spans []span, now time.Time) (grown, beyond int64, err error) {
	old, known, err := loadSummary(ctx, tx, spans[0].TraceID)
	if err != nil {
		return 0, 0, err
	}
	room := max(0, int64(s.settings.MaxSpans)-old.Spans)
	if n := int64(len(spans)); n > room {
		beyond, spans = n-room, spans[:room]
	}
	if err := insertSpans(ctx, tx, spans); err != nil {
		return 0, 0, err
	}
	all := spans
	if known {
		if all, err = loadSpans(ctx, tx, old.TraceID); err != nil {
			return 0, 0, err
		}
	}
	if len(all) == 0 {
		return 0, beyond, nil
	}
	t := summarise(all)
	t.inherit(old)
	t.Dropped = old.Dropped + beyond
	return t.Bytes - old.Bytes, beyond, saveSummary(ctx, tx, t, now)
}

// byTrace groups spans by their traces, both in the order of arrival.
func byTrace(spans []span) [][]span {
	var out [][]span
	at := map[string]int{}
	for _, s := range spans {
		i, ok := at[s.TraceID]
		if !ok {
			i = len(out)
			at[s.TraceID] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], s)
	}
	return out
}

// inherit takes over what an older summary knew of spans that are no longer there.
func (t *summary) inherit(old summary) {
	if old.TraceID == "" {
		return
	}
	for _, f := range []struct{ into, from *string }{
		{&t.SyncID, &old.SyncID}, {&t.SyncUID, &old.SyncUID}, {&t.Feed, &old.Feed}, {&t.Run, &old.Run}, {&t.Batch, &old.Batch},
		{&t.RunTrace, &old.RunTrace}, {&t.Slowest, &old.Slowest},
	} {
		if *f.into == "" {
			*f.into = *f.from
		}
	}
	if t.Kind == kindOther {
		t.Kind, t.Part = old.Kind, old.Part
	}
	if old.State == stateError && t.State == stateOK {
		t.State, t.Reason = old.State, old.Reason
	}
	t.Start, t.End, t.Complete = min(t.Start, old.Start), max(t.End, old.End), t.Complete || old.Complete
	if len(t.Stages) < len(old.Stages) {
		t.Stages, t.Slowest = old.Stages, old.Slowest
	}
	if t.Workspace == "default" {
		t.Workspace = old.Workspace
	}
}
