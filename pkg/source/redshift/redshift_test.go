package redshift_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift"
	"millrace.dev/pkg/source/redshift/redshifttest"
	"millrace.dev/pkg/source/sourcetest"
	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

// signIn gives the process the extractor's credentials of AWS, as its environment does, and nothing of the machine's own.
func signIn(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": redshifttest.AccessKey, "AWS_SECRET_ACCESS_KEY": redshifttest.SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
}

func TestConformanceByCursor(t *testing.T) {
	suite(t, (*redshifttest.Peer).Connection, map[string]string{
		"Nanoseconds": "Redshift's timestamps have microseconds",
		"PlansCount":  "a part is read in a transaction of its own, after the one that counted (TestPartsByCursorAreReadAsTheyAreThen)",
	})
}

func TestConformanceByUnload(t *testing.T) {
	suite(t, (*redshifttest.Peer).Unloading, map[string]string{
		"Nanoseconds": "Redshift's timestamps have microseconds",
	})
}

func suite(t *testing.T, connection func(*redshifttest.Peer) resource.Connection, exceptions map[string]string) {
	signIn(t)
	sourcetest.Run(t, sourcetest.Harness{
		Driver: spoken{redshift.New(redshift.Settings{PartRows: 1000})}, PartRows: 1000, Exceptions: exceptions,
		New: func(t *testing.T) sourcetest.Warehouse {
			p := redshifttest.Start(t, redshifttest.Options{})
			return sourcetest.Warehouse{Connection: connection(p), Exec: func(t *testing.T, sql string) { p.Exec(t, sql) }}
		},
	})
}

// spoken opens sources that are asked in the suite's dialect and ask in Redshift's.
type spoken struct{ *redshift.Driver }

func (d spoken) Open(ctx context.Context, c resource.Connection) (source.Source, error) {
	s, err := d.Driver.Open(ctx, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // under test
	}
	return speaker{s.(*redshift.Source)}, nil //nolint:forcetypeassert // the driver's own
}

type speaker struct{ *redshift.Source }

func said(q source.Query) source.Query {
	q.Model.SQL = strings.NewReplacer("ARRAY[1, 2, NULL]", "ARRAY(1, 2, NULL)", `CAST('{"b": [1, null], "a": "x"}' AS JSON)`, `JSON_PARSE('{"b": [1, null], "a": "x"}')`,
		"AS BYTEA", "AS VARBYTE").Replace(q.Model.SQL)
	return q
}

func (s speaker) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	return s.Source.Describe(ctx, said(q)) //nolint:wrapcheck // under test
}

func (s speaker) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return s.Source.Read(ctx, said(q))
}

func (s speaker) Plan(ctx context.Context, q source.Query, want int) (source.Plan, error) {
	return s.Source.Plan(ctx, said(q), want) //nolint:wrapcheck // under test
}

func (s speaker) CheckKeys(ctx context.Context, q source.Query) (source.KeyFaults, error) {
	return s.Source.CheckKeys(ctx, said(q)) //nolint:wrapcheck // under test
}

func open(t testing.TB, c resource.Connection) source.Source {
	t.Helper()
	return openWith(t, redshift.Settings{}, c)
}

func openWith(t testing.TB, s redshift.Settings, c resource.Connection) source.Source {
	t.Helper()
	got, err := redshift.New(s).Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, got.Close()) })
	return got
}

func model(sql string) source.Query {
	return source.Query{Model: resource.DataModel{SQL: sql}, Label: "millrace:test/sync/run"}
}

func values(t testing.TB, s source.Source, q source.Query) []string {
	t.Helper()
	out, err := read(t.Context(), s, q)
	require.NoError(t, err)
	return out
}

// read answers the first column's values.
func read(ctx context.Context, s source.Source, q source.Query) ([]string, error) {
	var out []string
	for b, err := range s.Read(ctx, q) {
		if err != nil {
			return out, err
		}
		for i := range int(b.NumRows()) {
			out = append(out, strings.Clone(b.Column(0).ValueStr(i)))
		}
	}
	return out, nil
}

// through plans everything of q and reads it by its parts.
func through(t testing.TB, s source.Source, q source.Query) ([]string, error) {
	t.Helper()
	q.Full = true
	p, err := s.(source.Planner).Plan(t.Context(), q, 4) //nolint:forcetypeassert // it plans
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range p.Parts {
		q.Snapshot, q.Range = p.Snapshot, r
		got, err := read(t.Context(), s, q)
		if err != nil {
			return out, err
		}
		out = append(out, got...)
	}
	return out, nil
}
