package scheduler_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/sqldb"
)

// canary is content of a damaged line, which no log may show.
const canary = "4815162342"

// TestALineThatCanNotBeReadHoldsUpNothing damages the middle one of three that wait: a change while nobody can be asked whom
// to tell, a message while its receiver takes none. No process runs meanwhile, so that none has read the line before.
func TestALineThatCanNotBeReadHoldsUpNothing(t *testing.T) {
	for _, c := range []struct{ name, table, column, content, why string }{
		{"a change of bad text", "scheduler_changes", "change", `{"sync":"` + canary, "it is no JSON from byte 19 on"},
		{"a change of bad time", "scheduler_changes", "change", `{"time":"` + canary + `"}`, "one of its values is not of its field's form"},
		{"a message of bad number", "scheduler_messages", "body", `{"version":` + canary + `.5}`, `its field \"version\" is no int`},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, sql string) {
				m := start(t, sql, telling())
				m.config.obey()
				in := newReceiver(t)
				m.alert("ops", in)
				asks := c.table == "scheduler_changes"
				m.config.refuseAlerts(asks)
				if !asks {
					in.answers(http.StatusServiceUnavailable)
				}
				first := m.failed(fault.ReasonQueryInvalid)
				m.succeeds(m.trigger(&schedulerv1.TriggerRunRequest{}).GetId(), "10")
				last := m.failed(fault.ReasonQueryInvalid)
				db := m.database()
				m.until("three wait", func() bool { return m.rows(db, c.table) == 3 })
				m.stop()
				_, err := db.Exec(t.Context(), "UPDATE "+c.table+" SET "+c.column+" = ? WHERE id = (SELECT id FROM "+c.table+
					" ORDER BY create_time, id LIMIT 1 OFFSET 1)", c.content)
				require.NoError(t, err)
				require.Empty(t, in.all())

				m.config.refuseAlerts(false)
				in.answers(http.StatusOK)
				m = m.another(telling())
				m.until("both others are told", func() bool { return len(in.all()) == 2 })
				require.Equal(t, []string{first.GetId(), last.GetId()}, []string{in.all()[0].Run, in.all()[1].Run})
				m.until("nothing waits", func() bool { return m.rows(db, c.table) == 0 })
				require.Equal(t, 1, strings.Count(m.logs.String(), "can not be read and is dropped"))
				require.Contains(t, m.logs.String(), c.why)
				require.NotContains(t, m.logs.String(), canary)
				if !asks {
					require.Equal(t, 1, m.alertsCounted("", "webhook", "dropped"))
				}

				m.stop()
				next := m.another(telling())
				next.never("anybody is told again", func() bool { return len(in.all()) > 2 })
				require.NotContains(t, next.logs.String(), "can not be read")
			})
		})
	}
}

// database opens the control database beside the scheduler.
func (m *mesh) database() *sqldb.DB {
	m.t.Helper()
	db, err := sqldb.Open(m.t.Context(), m.sql)
	require.NoError(m.t, err)
	m.t.Cleanup(func() { require.NoError(m.t, db.Close()) })
	return db
}

// rows counts the rows of a table.
func (m *mesh) rows(db *sqldb.DB, table string) int {
	m.t.Helper()
	var n int
	require.NoError(m.t, db.QueryRow(m.t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n))
	return n
}
