package e2e_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

// TestF37TheSchemaChangesInTheMiddleOfARun changes the columns of a table while a run reads it. A column that was added is
// left out and the run goes on; so it does where a type got wider. Any other change holds the run with the difference,
// and no row was mapped in two ways.
func TestF37TheSchemaChangesInTheMiddleOfARun(t *testing.T) {
	t.Parallel()
	const n = 40_000
	m := smallParts(t, n/40)
	for name, c := range map[string]struct {
		alter string
		drift []string // column, change, action
		held  bool
	}{
		"added":    {"ADD COLUMN tier TEXT DEFAULT 'gold'", []string{"tier added ignored"}, false},
		"widened":  {"ALTER COLUMN generation TYPE NUMERIC(20,0)", []string{"generation widened mapped"}, false},
		"dropped":  {"DROP COLUMN generation", []string{"generation dropped held"}, true},
		"renamed":  {"RENAME COLUMN generation TO gen", []string{"generation dropped held", "gen added ignored"}, true},
		"narrowed": {"ALTER COLUMN generation TYPE INTEGER", []string{"generation narrowed held"}, true},
		"retyped":  {"ALTER COLUMN generation TYPE TEXT", []string{"generation retyped held"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, n)
			m := m.in(name)
			m.apply(t, "", strings.Replace(s.documents(), "SELECT id, generation, updated_at", "SELECT *", 1))
			id := m.trigger(t, "customers")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			m.until(ctx, t, id, func(r *schedulerv1.Run) bool {
				require.False(t, over(r), "the run ended before the table changed")
				return r.GetIngestedRows() > 0
			})
			s.exec(t, "ALTER TABLE customers "+c.alter)
			r := m.end(t, id)
			var got []string
			for _, x := range r.GetDrift() {
				got = append(got, x.GetColumn()+" "+x.GetChange()+" "+x.GetAction())
			}
			require.Equal(t, c.drift, got)
			for who, generation := range m.customers(t) {
				require.Zero(t, generation, "customer %s", who)
			}
			if c.held {
				m.leaves(t, r, s)
				return
			}
			requireState(t, r, schedulerv1.RunState_RUN_STATE_SUCCEEDED)
			require.EqualValues(t, n, r.GetCounts().GetRead())
			require.EqualValues(t, n, r.GetCounts().GetCreated())
			require.Len(t, m.customers(t), n)
		})
	}
}

// leaves checks a run that is held for its columns, and drops it once the table is as it was.
func (m mesh) leaves(t *testing.T, r *schedulerv1.Run, s shop) {
	t.Helper()
	require.Equal(t, schedulerv1.RunState_RUN_STATE_HELD, r.GetState())
	require.Equal(t, fault.ReasonSchemaDrift.Word(), r.GetHold().GetReason())
	require.NotEmpty(t, r.GetHold().GetColumns())
	require.NotEmpty(t, r.GetHold().GetColumns()[0].GetChoices(), "what each choice would do")

	s.exec(t, "DROP TABLE customers; CREATE TABLE customers AS SELECT i::BIGINT AS id, 0::BIGINT AS generation, TIMESTAMP '2024-01-01' + i * INTERVAL '1 second' AS updated_at FROM generate_series(1, 1000) i")
	_, err := m.scheduler.DropRun(t.Context(), &schedulerv1.DropRunRequest{Workspace: m.workspace, Id: r.GetId()})
	require.NoError(t, err)
	again := m.run(t, "customers")
	require.Empty(t, again.GetDrift(), "the columns are those that were accepted")
	require.EqualValues(t, 1000, again.GetCounts().GetRead())
}
