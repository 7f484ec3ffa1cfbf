package e2e_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/fault"
)

const mirrorsOfKinds = `kind: Connection
id: warehouse
duckdb: {path: %q}
---
kind: DataModel
id: companies
connection: warehouse
record_kind: groups
group_type: company
table: companies
key_columns: [id]
---
kind: Sync
id: companies
data_model: companies
mode: mirror
state: active
---
kind: DataModel
id: products
connection: warehouse
record_kind: lookup
table: products
key_columns: [id]
---
kind: Sync
id: products
data_model: products
mode: mirror
state: active
`

// TestMirrorsOfGroupsAndOfLookupTablesAreEqualToTheirTables inserts, updates and deletes rows, reads a table that is not
// there, which deletes nothing, and one that is empty, which is held.
func TestMirrorsOfGroupsAndOfLookupTablesAreEqualToTheirTables(t *testing.T) {
	m := startOne(t, databases{})
	w := warehouse{path: filepath.Join(t.TempDir(), "shop.duckdb")}
	reads := map[string]func(id string) (string, error){"companies": m.company(t), "products": m.product(t)}
	for table := range reads {
		w.exec(t, fmt.Sprintf(`CREATE TABLE %s AS SELECT 'x' || i AS id, 'Name ' || i AS name FROM range(10) t(i)`, table))
	}
	m.apply(t, "", fmt.Sprintf(mirrorsOfKinds, w.path))
	for table, read := range reads {
		t.Run(table, func(t *testing.T) { m.mirrorsKind(t, w, table, read) })
	}
}

func (m mesh) mirrorsKind(t *testing.T, w warehouse, table string, read func(id string) (string, error)) {
	t.Helper()
	has := func(id, name string) {
		t.Helper()
		got, err := read(id)
		require.NoError(t, err)
		require.Equal(t, name, got)
	}
	lacks := func(id string) {
		t.Helper()
		_, err := read(id)
		require.Equal(t, fault.NotFound, fault.ClassOf(fault.FromStatus(err)))
	}
	requireWanted(t, wanted{created: 10}, m.run(t, table))
	w.exec(t,
		fmt.Sprintf(`INSERT INTO %s VALUES ('x10', 'Name 10')`, table),
		fmt.Sprintf(`UPDATE %s SET name = 'New' WHERE id = 'x1'`, table),
		fmt.Sprintf(`DELETE FROM %s WHERE id = 'x2'`, table))
	requireWanted(t, wanted{created: 1, updated: 1, unchanged: 8, deleted: 1}, m.run(t, table))
	has("x10", "Name 10")
	has("x1", "New")
	has("x3", "Name 3")
	lacks("x2")

	w.exec(t, fmt.Sprintf(`ALTER TABLE %s RENAME TO away`, table))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_FAILED, m.end(t, m.trigger(t, table)).GetState())
	has("x3", "Name 3")
	w.exec(t, fmt.Sprintf(`ALTER TABLE away RENAME TO %s`, table))
	requireWanted(t, wanted{unchanged: 10}, m.run(t, table))

	w.exec(t, fmt.Sprintf(`DELETE FROM %s`, table))
	held := m.end(t, m.trigger(t, table))
	require.Equal(t, schedulerv1.RunState_RUN_STATE_HELD, held.GetState())
	require.Equal(t, fault.ReasonEmptyRead.Word(), held.GetHold().GetReason())
	has("x3", "Name 3")
	requireWanted(t, wanted{deleted: 10}, m.approved(t, held))
	lacks("x3")
}

// company answers how the name of a company is read.
func (m mesh) company(t *testing.T) func(id string) (string, error) {
	return func(id string) (string, error) {
		r, err := m.ingestion.GetGroup(t.Context(), &ingestionv1.GetGroupRequest{Workspace: m.workspace, GroupType: "company", GroupId: id})
		return r.GetGroup().GetAttributes().GetFields()["name"].GetStringValue(), err //nolint:wrapcheck // the test looks at it
	}
}

// product answers how the name of a product is read.
func (m mesh) product(t *testing.T) func(id string) (string, error) {
	return func(id string) (string, error) {
		r, err := m.ingestion.GetLookupRow(t.Context(), &ingestionv1.GetLookupRowRequest{Workspace: m.workspace, DataModel: "products", KeyValues: []string{id}})
		return r.GetRow().GetRow().GetFields()["name"].GetStringValue(), err //nolint:wrapcheck // the test looks at it
	}
}
