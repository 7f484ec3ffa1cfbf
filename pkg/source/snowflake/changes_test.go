//go:build cgo && duckdb_arrow

package snowflake_test

import (
	"testing"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source/snowflake"
	"millrace.dev/pkg/source/snowflake/snowflaketest"
	"millrace.dev/pkg/source/sourcetest"
)

func TestChanges(t *testing.T) {
	t.Run("diff", func(t *testing.T) { changesConform(t, resource.Diff, nil) })
	t.Run("native", func(t *testing.T) {
		const instants = "a state is an instant, of which nothing is kept that could be dropped; TestAFeedIsLost is of its own"
		changesConform(t, resource.Native, map[string]string{
			"Columns":                     "no feed tells what altering a table did to its rows; TestAFeedIsLost has it read everything",
			"UnconfirmedStatesAreDropped": instants, "TheBaseIsGone": instants, "Drop": instants, "Clear": instants,
		})
	})
}

func changesConform(t *testing.T, e resource.MirrorEngine, exceptions map[string]string) {
	t.Helper()
	sourcetest.RunChanges(t, sourcetest.Harness{
		Driver: snowflake.New(snowflake.Settings{PartRows: 1000}), PartRows: 1000, Engine: e, Exceptions: exceptions,
		New: func(t *testing.T) sourcetest.Warehouse {
			o := snowflaketest.Options{Track: true}
			if e == resource.Diff {
				o = snowflaketest.Options{Writes: []string{"MILLRACE"}}
			}
			s := snowflaketest.New(t, o)
			c := s.Connection()
			c.Token, c.Timestamps = resource.Secret{Plain: "token"}, resource.Nanoseconds
			return sourcetest.Warehouse{
				Connection: resource.Connection{Snowflake: &c},
				Exec:       func(t *testing.T, sql string) { s.Exec(t, sql) },
			}
		},
	})
}
