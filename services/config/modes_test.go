package config_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

// TestModesAndKindsGoTogetherAsTheTableSays applies a sync of every kind in every mode: what does not go together is refused
// with the field and the reason, before anything is stored.
func TestModesAndKindsGoTogetherAsTheTableSays(t *testing.T) {
	model := map[string]string{
		"users":           "iterator: {column: at, type: timestamp}",
		"events":          "iterator: {column: at, type: timestamp}",
		"groups":          "group_type: company\niterator: {column: at, type: timestamp}",
		"lookup":          "iterator: {column: at, type: timestamp}",
		"profile_history": "start_time: since\niterator: {column: since, type: timestamp}",
	}
	const (
		whole  = "use full or mirror: a lookup table is replaced as a whole, a window of it would leave the rest out of date"
		all    = "use mirror: a version of a history ends where the next one begins, so that all of them must be known"
		noKeys = "is missing, and sync s is a mirror: without keys nobody knows which row is gone; name the columns that tell rows apart, or give sync s another mode"
	)
	cells := []struct{ kind, mode, keys, want string }{
		{"users", "incremental", "", ""},
		{"users", "full", "", ""},
		{"users", "mirror", "id", ""},
		{"users", "mirror", "", "DataModel m key_columns: " + noKeys},
		{"events", "incremental", "", ""},
		{"events", "full", "id", ""},
		{"events", "full", "", "DataModel m key_columns: is missing, and sync s reads events in mode full; name the columns that tell events apart, or give sync s mode incremental"},
		{"events", "mirror", "id", ""},
		{"events", "mirror", "", "DataModel m key_columns: " + noKeys},
		{"groups", "incremental", "id", ""},
		{"groups", "full", "id", ""},
		{"groups", "mirror", "id", ""},
		{"lookup", "incremental", "id", "Sync s mode: is incremental, which does not go with records of kind lookup; " + whole},
		{"lookup", "full", "id", ""},
		{"lookup", "mirror", "id", ""},
		{"profile_history", "incremental", "id, since", "Sync s mode: is incremental, which does not go with records of kind profile_history; " + all},
		{"profile_history", "full", "id, since", "Sync s mode: is full, which does not go with records of kind profile_history; " + all},
		{"profile_history", "mirror", "id, since", ""},
	}
	onBoth(t, func(t *testing.T, h *house) {
		for _, c := range cells {
			t.Run(fmt.Sprintf("%s %s [%s]", c.kind, c.mode, c.keys), func(t *testing.T) {
				_, err := h.apply(t, fmt.Sprintf(inMode, c.kind, c.keys, model[c.kind], c.mode), func(r *configv1.ApplyRequest) { r.DryRun = c.want == "" })
				if c.want == "" {
					require.NoError(t, err)
					return
				}
				e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
				require.Len(t, texts(e), 1)
				require.Regexp(t, `^a\.yaml:\d+:\d+ `, texts(e)[0])
				require.Contains(t, texts(e)[0], c.want)
			})
		}
		list, err := h.ListSyncs(t.Context(), &configv1.ListSyncsRequest{})
		require.NoError(t, err)
		require.Empty(t, list.GetSyncs())
	})
}

const inMode = `kind: Connection
id: c
duckdb: {path: x}
---
kind: DataModel
id: m
connection: c
record_kind: %s
table: t
key_columns: [%s]
%s
---
kind: Mapping
id: m
rules:
  - {column: a, to: user_attributes.a}
---
kind: Sync
id: s
data_model: m
mapping: m
mode: %s
`
