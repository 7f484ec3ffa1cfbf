//go:build cgo && duckdb_arrow

package databricks_test

import (
	"strings"
	"testing"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/databricks"
	"millrace.dev/pkg/source/databricks/databrickstest"
	"millrace.dev/pkg/source/sourcetest"
)

func TestChanges(t *testing.T) {
	const versions = "a state is a version of the table, of which nothing is kept that could be dropped; TestAFeedIsLost is of its own"
	for name, o := range map[string]databrickstest.Options{"within answers": {ChangeFeed: true}, "by files": {ChangeFeed: true, Files: true, Padding: true}} {
		t.Run(name, func(t *testing.T) {
			sourcetest.RunChanges(t, sourcetest.Harness{
				Driver: spoken{databricks.New(databricks.Settings{PartRows: 1000})}, PartRows: 1000, Engine: resource.Native,
				Exceptions: map[string]string{
					"Columns":                     "another text is another query; TestColumnsThatCome has them come and go under one",
					"UnconfirmedStatesAreDropped": versions, "TheBaseIsGone": versions, "Drop": versions, "Clear": versions,
				},
				New: func(t *testing.T) sourcetest.Warehouse {
					p := databrickstest.Start(t, o)
					return sourcetest.Warehouse{Connection: p.Connection(), Exec: func(t *testing.T, sql string) {
						p.Exec(t, strings.ReplaceAll(sql, "INTERVAL", "VARCHAR")) // tables of Delta have no intervals
					}}
				},
			})
		})
	}
}
