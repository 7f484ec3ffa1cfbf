//go:build cgo && duckdb_arrow

package millrace_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shopRows is how many customers the shop's file has; three each are bad in another way.
const shopRows = 300

// writeShop writes the shop's file; changed are rows in place of their own.
func writeShop(t *testing.T, path string, changed map[int]string) {
	t.Helper()
	lines := []string{"id,email,plan,visits,ltv,updated_at"}
	for i := 1; i <= shopRows; i++ {
		email, plan, visits, ltv := fmt.Sprintf("user%d@example.com", i), "pro", fmt.Sprint(i%50), "1.50"
		switch i % 100 {
		case 1:
			visits = "many" // the mapper rejects it
		case 2:
			ltv = "cheap" // and it for another column
		case 3:
			email, plan = "", "none" // the store refuses whom the mapping calls none
		}
		line := fmt.Sprintf("%d,%s,%s,%s,%s,%s", i, email, plan, visits, ltv, time.Date(2024, 1, 1, 0, 0, i, 0, time.UTC).Format(time.DateTime))
		if c, ok := changed[i]; ok {
			line = c
		}
		lines = append(lines, line)
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
}

// shopDocuments answers the shop's documents with rules for the customer id, visits and ltv.
func shopDocuments(file, customer, visits, ltv string) string {
	return fmt.Sprintf(`kind: Connection
id: shop
duckdb: {path: %s}
---
kind: DataModel
id: customers
connection: shop
record_kind: users
sql: SELECT id, nullif(email, '') AS email, plan, visits::VARCHAR AS visits, ltv::VARCHAR AS ltv, updated_at FROM files
key_columns: [id]
iterator: {column: updated_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: customers
rules:
  - object: user_identities
    rules:
      - %s
      - {column: email, to: email}
  - object: user_attributes
    rules:
      - {column: plan, to: plan}
      - %s
      - %s
---
kind: Sync
id: customers
data_model: customers
mapping: customers
mode: incremental
state: active
`, file, customer, visits, ltv)
}

func (l laptop) apply(path, documents string) {
	l.t.Helper()
	require.NoError(l.t, os.WriteFile(path, []byte(documents), 0o600))
	l.do(0, "apply --yes -f "+path)
}

// TestRejectsAreReplayedThroughAMendedMapping: rows are rejected for three reasons, listed, counted, exported, and brought in
// by a replay once the mapping is mended. The store is then as the mended mapping would have filled it.
func TestRejectsAreReplayedThroughAMendedMapping(t *testing.T) {
	dir := t.TempDir()
	file, path := filepath.Join(dir, "shop.csv"), filepath.Join(dir, "shop.yaml")
	first := shopDocuments(file, `{expression: "row.plan == 'none' ? 'none' : string(row.id)", to: customer_id}`,
		"{column: visits, to: visits, type: integer}", "{column: ltv, to: ltv, type: decimal}")
	mended := shopDocuments(file, "{column: id, to: customer_id, type: string}",
		`{expression: "row.visits == 'many' ? 99 : int(row.visits)", to: visits}`,
		`{expression: "row.ltv == 'cheap' ? '0.50' : row.ltv", to: ltv, type: decimal}`)
	writeShop(t, file, nil)
	l, stop := up(t, filepath.Join(dir, "data"))
	l.apply(path, first)
	r := document[runDocument](l, 3, "run customers --wait")
	require.Equal(t, "partially_succeeded", r.State)
	require.Equal(t, []string{"6", "3", "291"}, []string{r.Counts["rejected"], r.Counts["refused"], r.Counts["created"]})

	list := document[struct {
		ByReason []struct{ Stage, Column, Rule, Rejects string } `json:"by_reason"`
		Rejects  []struct {
			KeyValues []string `json:"key_values"`
		}
	}](l, 0, "rejects list "+r.ID)
	require.Len(t, list.Rejects, 9)
	require.Len(t, list.ByReason, 3)
	for _, c := range list.ByReason {
		require.Equal(t, "3", c.Rejects, "%+v", c)
	}
	rows := map[string]map[string]any{}
	for _, line := range strings.Split(strings.TrimSpace(l.do(0, "rejects export "+r.ID)), "\n") {
		var x struct {
			KeyValues []string `json:"key_values"`
			Row       map[string]any
		}
		require.NoError(t, json.Unmarshal([]byte(line), &x), line)
		rows[x.KeyValues[0]] = x.Row
	}
	require.Len(t, rows, 9)
	require.Equal(t, "many", rows["101"]["visits"])
	require.Equal(t, "cheap", rows["102"]["ltv"])
	require.Equal(t, "none", rows["103"]["plan"], "the row of a refused record, too")
	require.Nil(t, rows["103"]["email"])
	out := filepath.Join(dir, "rejects.csv")
	require.Contains(t, l.do(0, "rejects export "+r.ID+" --format csv --to "+out), "9 rejects")
	text, err := os.ReadFile(out)
	require.NoError(t, err)
	cells, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	require.NoError(t, err)
	require.Len(t, cells, 10)
	require.Contains(t, cells[0], "updated_at")

	l.apply(path, mended)
	writeShop(t, file, map[int]string{101: "101,user101@example.com,pro,7,1.50,2024-02-01 00:00:00"})
	meanwhile := document[runDocument](l, 0, "run customers --wait")
	require.Equal(t, "1", meanwhile.Counts["created"], "a newer version of a rejected row")

	replay := document[runDocument](l, 0, "rejects replay --wait "+r.ID)
	require.Equal(t, []string{"9", "8", "1"}, []string{replay.Counts["read"], replay.Counts["created"], replay.Counts["unchanged"]})
	require.True(t, replay.Certificate.Balanced)
	require.Equal(t, replay.Certificate.RowsDigest, replay.Certificate.AccountedDigest)
	after := l.do(0, "store digest")
	again := document[runDocument](l, 0, "rejects replay --wait "+r.ID)
	require.Equal(t, "9", again.Counts["unchanged"])
	full := document[runDocument](l, 0, "run customers --wait --full")
	require.Equal(t, fmt.Sprint(shopRows), full.Counts["unchanged"], "the warehouse brings the replayed rows again")
	require.Equal(t, after, l.do(0, "store digest"))
	l.do(1, "rejects replay "+replay.ID)
	stop()

	l, stop = up(t, filepath.Join(dir, "other"))
	defer stop()
	l.apply(path, mended)
	whole := document[runDocument](l, 0, "run customers --wait")
	require.Equal(t, fmt.Sprint(shopRows), whole.Counts["created"])
	require.Equal(t, l.do(0, "store digest"), after, "as if the mapping had been mended from the beginning")
}
