//go:build cgo && duckdb_arrow

package extractor_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// accepts answers a change of leases: the columns of the mesh's last plan are those that were accepted.
func (m *mesh) accepts() func(*schedulerv1.PartLease) {
	a := &schedulerv1.AcceptedSchema{ModelFingerprint: m.plan.GetModelFingerprint(), Columns: m.plan.GetColumns()}
	return func(l *schedulerv1.PartLease) { l.Accepted = a }
}

func changes(p *schedulerv1.RunPlan) []string {
	var out []string
	for _, c := range p.GetDrift() {
		out = append(out, c.GetColumn()+" "+c.GetChange()+" "+c.GetAction())
	}
	return out
}

func TestNewColumnsAreLeftOutOfWhatTheRunReads(t *testing.T) {
	m := newMesh(t)
	path := m.warehouse(people)
	m.planned()
	require.Empty(t, m.plan.GetDrift(), "a first run takes the columns as they are")
	require.Len(t, m.plan.GetColumns(), 4)
	require.Equal(t, "TIMESTAMP", m.plan.GetColumns()[3].GetType())
	require.Equal(t, "timestamp[us]", m.plan.GetColumns()[3].GetArrowType())
	accepted := m.accepts()
	m.planned(accepted)
	require.Empty(t, m.plan.GetDrift())

	execute(t, path, "CREATE OR REPLACE TABLE people AS SELECT customer_id, 'gold' AS tier, email, visits, updated_at FROM people")
	parts := m.planned(accepted)
	require.Equal(t, []string{"tier added ignored"}, changes(m.plan))
	require.Contains(t, m.plan.GetDrift()[0].GetChoices(), "drift: {added: map}")
	require.Equal(t, []string{"tier"}, m.plan.GetIgnoredColumns())
	require.Len(t, m.plan.GetColumns(), 4)
	done := m.work(parts[0])
	require.Nil(t, done.GetError())
	require.EqualValues(t, 50000, done.GetRows())
	for _, b := range m.collect(int(done.GetBatches())) {
		require.Empty(t, b.Record.Schema().FieldIndices("tier"))
		require.Contains(t, b.Record.Column(1).ValueStr(0), "@example.com", "the others stay in their places")
	}

	m.snapshot.Sync.Drift.Added = resource.DriftMap
	m.planned(accepted)
	require.Equal(t, []string{"tier added mapped"}, changes(m.plan))
	require.Empty(t, m.plan.GetIgnoredColumns())
	require.Len(t, m.plan.GetColumns(), 5)

	m.snapshot.Sync.Drift.Added = resource.DriftHold
	m.planned(accepted)
	require.True(t, m.plan.GetHold())
	require.Empty(t, m.plan.GetParts())
	approved := func(l *schedulerv1.PartLease) { accepted(l); l.DriftApproved = true }
	m.planned(approved)
	require.False(t, m.plan.GetHold())
	require.Len(t, m.plan.GetColumns(), 5)

	m.snapshot.Sync.Drift.Added = ""
	m.snapshot.Mapping = &resource.Mapping{Rules: []resource.Rule{
		{Column: "customer_id", To: "user_identities.customer_id"}, {Column: "email", To: "user_identities.email"}, {Ignore: "visits"},
		{Column: "tier", To: "user_attributes.tier"},
	}}
	m.planned(accepted)
	require.Equal(t, []string{"tier added mapped"}, changes(m.plan), "the mapping names it")
}

func TestOtherChangesOfColumnsHoldTheRun(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		want []string
		hold bool
	}{
		"dropped":  {"ALTER TABLE people DROP COLUMN visits", []string{"visits dropped held"}, true},
		"renamed":  {"ALTER TABLE people RENAME COLUMN visits TO seen", []string{"visits dropped held", "seen added ignored"}, true},
		"narrowed": {"ALTER TABLE people ALTER COLUMN visits TYPE SMALLINT", []string{"visits narrowed held"}, true},
		"retyped":  {"ALTER TABLE people ALTER COLUMN visits TYPE VARCHAR", []string{"visits retyped held"}, true},
		"widened":  {"ALTER TABLE people ALTER COLUMN visits TYPE HUGEINT", []string{"visits widened mapped"}, false},
		"iterator": {"ALTER TABLE people ALTER COLUMN updated_at TYPE VARCHAR", []string{"updated_at retyped held"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			path := m.warehouse(people)
			parts := m.planned()
			accepted := m.accepts()
			execute(t, path, c.sql)
			done := m.work(parts[0])
			require.True(t, done.GetReplan(), "in the middle of a run it is planned again")
			require.Equal(t, fault.ReasonSourceChanged.Word(), done.GetError().GetReason())

			m.planned(accepted)
			require.Equal(t, c.want, changes(m.plan))
			require.Equal(t, c.hold, m.plan.GetHold())
			if !c.hold {
				return
			}
			require.Empty(t, m.plan.GetParts())
			require.NotEmpty(t, m.plan.GetDrift()[0].GetChoices())

			m.snapshot.DataModel.SQL += " WHERE TRUE"
			if name != "iterator" {
				m.planned(accepted)
				require.Empty(t, m.plan.GetDrift(), "columns of another query are no drift")
			}
		})
	}
}
