package resource_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
)

func TestWhatHasASayInTheRowsMakesOtherWork(t *testing.T) {
	snapshot := func(change func(*resource.Snapshot)) resource.Snapshot {
		s := resource.Snapshot{
			Version: 1, Sync: resource.Sync{Meta: resource.Meta{ID: "s", UID: "1"}, Mode: resource.Incremental},
			Connection: resource.Connection{Postgres: &resource.Postgres{Host: "h", User: "u", Password: resource.Secret{Sealed: []byte("old")}}},
			DataModel:  resource.DataModel{SQL: "SELECT 1"}, Mapping: &resource.Mapping{}, Feed: resource.Feed{Environment: resource.Prod},
		}
		change(&s)
		return s
	}
	was := snapshot(func(*resource.Snapshot) {})
	for what, change := range map[string]func(*resource.Snapshot){
		"nothing":  func(*resource.Snapshot) {},
		"version":  func(s *resource.Snapshot) { s.Version = 2 },
		"etag":     func(s *resource.Snapshot) { s.Connection.Etag, s.Mapping.Etag = "2", "2" },
		"password": func(s *resource.Snapshot) { s.Connection.Postgres.Password = resource.Secret{Sealed: []byte("new")} },
		"time-out": func(s *resource.Snapshot) { s.Connection.Postgres.StatementTimeout = time.Minute },
		"schedule": func(s *resource.Snapshot) { s.Sync.Schedule.Every = "1h" },
	} {
		require.True(t, was.SameWork(snapshot(change)), what)
	}
	for what, change := range map[string]func(*resource.Snapshot){
		"host":        func(s *resource.Snapshot) { s.Connection.Postgres.Host = "other" },
		"user":        func(s *resource.Snapshot) { s.Connection.Postgres.User = "other" },
		"query":       func(s *resource.Snapshot) { s.DataModel.SQL = "SELECT 2" },
		"mapping":     func(s *resource.Snapshot) { s.Mapping.Rules = []resource.Rule{{}} },
		"no mapping":  func(s *resource.Snapshot) { s.Mapping = nil },
		"mode":        func(s *resource.Snapshot) { s.Sync.Mode = resource.Full },
		"lookback":    func(s *resource.Snapshot) { s.Sync.Lookback = time.Minute },
		"environment": func(s *resource.Snapshot) { s.Feed.Environment = resource.Dev },
		"sync":        func(s *resource.Snapshot) { s.Sync.UID = "2" },
	} {
		require.False(t, was.SameWork(snapshot(change)), what)
	}
	require.Equal(t, []byte("old"), was.Connection.Postgres.Password.Sealed, "what is compared stays as it is")
}

func TestAnotherKeyOfSnowflakeIsTheSameWork(t *testing.T) {
	snapshot := func(change func(*resource.Snowflake)) resource.Snapshot {
		f := &resource.Snowflake{Account: "a", Database: "D", Role: "R", Warehouse: "W", PrivateKey: resource.Secret{Sealed: []byte("old")}}
		change(f)
		return resource.Snapshot{Connection: resource.Connection{Snowflake: f}}
	}
	was := snapshot(func(*resource.Snowflake) {})
	require.True(t, was.SameWork(snapshot(func(f *resource.Snowflake) { f.PrivateKey, f.Warehouse = resource.Secret{Sealed: []byte("new")}, "L" })))
	for what, change := range map[string]func(*resource.Snowflake){
		"account":    func(f *resource.Snowflake) { f.Account = "b" },
		"database":   func(f *resource.Snowflake) { f.Database = "E" },
		"role":       func(f *resource.Snowflake) { f.Role = "S" },
		"timestamps": func(f *resource.Snowflake) { f.Timestamps = resource.Nanoseconds },
	} {
		require.False(t, was.SameWork(snapshot(change)), what)
	}
}
