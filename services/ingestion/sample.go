package ingestion

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
)

const (
	// maxSamples is how many rows of each effect a batch shows.
	maxSamples = 5
	// maxReasons is how many reasons of rejects a batch tells apart.
	maxReasons = 50
)

// sample is a row and what it would do.
type sample struct {
	Effect    string // as counts name it
	KeyValues []string
}

// reason is why rows were rejected, and how many.
type reason struct {
	Stage, Column, Rule, Reason string
	Rejects                     int64
}

// remarksOn answers what is to be said of a dry batch: the first rows that it would create, update, delete, reject or
// refuse, a few of each, and why rows would be rejected.
func (s *Service) remarksOn(ctx context.Context, b record.Batch, met profile.State, e profile.Effects) (remarks, error) {
	t := &taker{taken: map[string]int{}}
	for _, r := range b.Rejects {
		t.take("rejected", r.KeyValues)
	}
	for _, r := range e.Rejects[len(b.Rejects):] {
		t.take(effectWord(profile.Refused), r.KeyValues)
	}
	out := remarks{Reasons: reasonsOf(e.Rejects)}
	if b.Absent != nil {
		err := s.sampleAbsent(ctx, t, b, met, e)
		out.Samples = t.out
		return out, err
	}
	effects := make(map[id.Row]profile.Effect, len(e.Entries))
	for _, w := range e.Entries {
		effects[w.Row] = w.Entry.Effect
	}
	texts := b.Record.Column(record.PosKeyValues).(*array.String) //nolint:forcetypeassert // the form of a batch is checked by wire
	for i := range e.Keys.Len() {
		if effect, ok := effects[id.Row(e.Keys.Rows.Value(i))]; ok && effect != profile.Unchanged && effect != profile.NoEffect {
			t.take(effectWord(effect), texts.Value(i))
		}
	}
	out.Samples = append(t.out, collapsedIn(b, e)...)
	return out, nil
}

// collapsedIn answers the first rows of a batch that were collapsed into others.
func collapsedIn(b record.Batch, e profile.Effects) []sample {
	var out []sample
	for _, i := range e.Collapsed {
		texts := b.Record.Column(record.PosKeyValues).(*array.String) //nolint:forcetypeassert // the form of a batch is checked by wire
		out = append(out, sample{"collapsed", keyValues(texts.Value(i))})
	}
	return out
}

// taker takes a few samples of each effect.
type taker struct {
	taken map[string]int
	out   []sample
}

func (t *taker) full(effect string) bool { return t.taken[effect] >= maxSamples }

func (t *taker) take(effect, joined string) {
	if t.full(effect) {
		return
	}
	t.taken[effect]++
	t.out = append(t.out, sample{effect, keyValues(joined)})
}

// sampleAbsent takes samples of rows that a mirror run lacks. Their key values stand in what they brought; of a row that a
// run of another mode brought there is only the key.
func (s *Service) sampleAbsent(ctx context.Context, t *taker, b record.Batch, met profile.State, e profile.Effects) error {
	word := effectWord(profile.Deleted)
	at := make(map[id.Row]int, e.Keys.Len())
	for i := range e.Keys.Len() {
		at[id.Row(e.Keys.Rows.Value(i))] = i
	}
	for _, w := range e.Entries {
		if w.Entry.Effect != profile.Deleted || t.full(word) {
			continue
		}
		old := met.Entries[at[w.Row]]
		text, ok := "", false
		if b.Kind.Single() {
			doc, err := s.store.Event(ctx, e.EventScope, profile.EventKey{Profile: old.Profile, Time: old.EventTime, ID: profile.EventIDOf(e.Keys.Origin.Sync, w.Row)})
			if err != nil {
				return fmt.Errorf("read a row that is gone: %w", err)
			}
			if doc != nil {
				was, err := profile.DecodeEvent(doc)
				if err != nil {
					return err //nolint:wrapcheck // classified by profile
				}
				text, ok = was.From.KeyValues, true
			}
		} else {
			text, ok = profile.KeyValuesOf(met.Docs[old.Profile], e.Keys.Origin.Sync, w.Row)
		}
		if !ok {
			text = fmt.Sprintf("(row key %x)", w.Row[:])
		}
		t.take(word, text)
	}
	return nil
}

// reasonsOf counts rejects by reason, most first; what is beyond maxReasons is left out.
func reasonsOf(rejects []record.Reject) []reason {
	counts := map[reason]int64{}
	for _, r := range rejects {
		counts[reason{Stage: string(r.Stage), Column: r.Column, Rule: r.Rule, Reason: r.Reason}]++
	}
	out := make([]reason, 0, len(counts))
	for r, n := range counts {
		r.Rejects = n
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b reason) int {
		return cmp.Or(cmp.Compare(b.Rejects, a.Rejects), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
	return out[:min(len(out), maxReasons)]
}
