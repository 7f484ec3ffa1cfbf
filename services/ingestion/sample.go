package ingestion

import (
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
)

// maxSamples is how many rows of each effect a dry batch shows.
const maxSamples = 5

// sample is a row and what it would do.
type sample struct {
	effect    string // as counts name it
	keyValues []string
}

// samplesOf answers the first rows of a batch that would create, update, delete or be refused, a few of each.
func samplesOf(b record.Batch, e profile.Effects) []sample {
	var out []sample
	taken := map[string]int{}
	take := func(effect, joined string) {
		if taken[effect]++; taken[effect] <= maxSamples {
			out = append(out, sample{effect, keyValues(joined)})
		}
	}
	for _, r := range e.Rejects[len(b.Rejects):] {
		take(effectWord(profile.Refused), r.KeyValues)
	}
	effects := make(map[id.Row]profile.Effect, len(e.Entries))
	for _, w := range e.Entries {
		effects[w.Row] = w.Entry.Effect
	}
	if b.Absent != nil {
		return out // whose key values nobody keeps
	}
	texts := b.Record.Column(record.PosKeyValues).(*array.String) //nolint:forcetypeassert // the form of a batch is checked by wire
	for i := range e.Keys.Len() {
		if effect, ok := effects[id.Row(e.Keys.Rows.Value(i))]; ok && effect != profile.Unchanged && effect != profile.NoEffect {
			take(effectWord(effect), texts.Value(i))
		}
	}
	return out
}
