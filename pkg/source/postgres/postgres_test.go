package postgres_test

import (
	"context"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/postgres"
	"millrace.dev/pkg/source/sourcetest"
	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

func TestConformance(t *testing.T) {
	sourcetest.Run(t, sourcetest.Harness{
		Driver:   postgres.New(postgres.Settings{PartRows: 1000}),
		PartRows: 1000,
		New:      warehouse,
		Exceptions: map[string]string{
			"Nanoseconds": "PostgreSQL's timestamps have microseconds",
		},
	})
}

func TestChanges(t *testing.T) {
	sourcetest.RunChanges(t, sourcetest.Harness{Driver: postgres.New(postgres.Settings{PartRows: 1000}), PartRows: 1000, New: warehouse, Engine: resource.Diff})
}

func warehouse(t *testing.T) sourcetest.Warehouse {
	at := testenv.Postgres(t)
	return sourcetest.Warehouse{
		Connection: connection(t, at),
		Exec: func(t *testing.T, sql string) {
			exec(t, at, sql)
			exec(t, at, "ANALYZE")
		},
	}
}

func exec(t testing.TB, at, sql string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, at)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(ctx)) }()
	require.NoError(t, c.PgConn().Exec(ctx, sql).Close())
}

// connection answers the connection of a URL.
func connection(t testing.TB, at string) resource.Connection {
	u, err := url.Parse(at)
	require.NoError(t, err)
	port, err := strconv.Atoi(u.Port())
	require.NoError(t, err)
	password, _ := u.User.Password()
	return resource.Connection{Postgres: &resource.Postgres{
		Host: u.Hostname(), Port: port, Database: u.Path[1:], User: u.User.Username(), Password: resource.Secret{Plain: password}, SSLMode: "disable",
	}}
}

func open(t testing.TB, c resource.Connection) source.Source {
	s, err := postgres.New(postgres.Settings{}).Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func model(sql string) source.Query {
	return source.Query{Model: resource.DataModel{SQL: sql}, Label: "millrace:test/sync/run"}
}

func values(t testing.TB, s source.Source, q source.Query) []string {
	var out []string
	for b, err := range s.Read(t.Context(), q) {
		require.NoError(t, err)
		for i := range int(b.NumRows()) {
			out = append(out, b.Column(0).ValueStr(i))
		}
	}
	return out
}

func TestTypesOfPostgreSQL(t *testing.T) {
	at := testenv.Postgres(t)
	exec(t, at, `CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, b text); CREATE DOMAIN cents AS numeric(12,2);`)
	s := open(t, connection(t, at))
	for expr, want := range map[string]string{
		"123456789012345678901234567890.123456789012345678901234567890::numeric": "123456789012345678901234567890.123456789012345678901234567890",
		"0.00001::numeric":                             "0.00001",
		"-10000.5::numeric":                            "-10000.5",
		"100000000::numeric":                           "100000000",
		"'NaN'::numeric":                               "NaN",
		"1.10::cents":                                  "1.1",
		"12345.678::numeric(20,5)":                     "12345.678",
		"-0.0009::numeric(4,4)":                        "-0.0009",
		"0::numeric(10,3)":                             "0",
		"99999.99999999::numeric(13,8)":                "99999.99999999",
		"'a'::char(3)":                                 "a  ",
		"'x'::\"char\"":                                "x",
		"'ok'::mood":                                   "ok",
		"ROW(1, 'x')::pair":                            `{"a":1,"b":"x"}`,
		"ARRAY['a', NULL]":                             `["a",null]`,
		"ARRAY[ROW(1, 'x')::pair]":                     `[{"a":1,"b":"x"}]`,
		"'{\"b\":1,\"a\":[1,2]}'::jsonb":               `{"a": [1, 2], "b": 1}`,
		"interval '1 year 2 days 03:04:05.5'":          "P1Y2DT3H4M5.5S",
		"'10.0.0.1/8'::inet":                           "10.0.0.1/8",
		"int4range(1, 5)":                              "[1,5)",
		"B'0101'":                                      "0101",
		"'12:00:00+02'::timetz":                        "12:00:00+02",
		"'\\x00ff'::bytea":                             "AP8=",
		"4294967295::oid":                              "4294967295",
		"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
		"'2026-01-01 00:00:00.000001 America/New_York'::timestamptz": "2026-01-01T05:00:00.000001Z",
		"NULL": "(null)",
	} {
		require.Equal(t, []string{want}, values(t, s, model("SELECT "+expr+" AS v")), expr)
	}
	for _, expr := range []string{"'infinity'::timestamp", "'-infinity'::timestamptz", "'infinity'::date"} {
		require.Len(t, values(t, s, model("SELECT "+expr+" AS v")), 1, expr)
	}
	for _, err := range s.Read(t.Context(), model("SELECT 'NaN'::numeric(9,2) AS v")) {
		require.ErrorContains(t, err, `column "v" of type numeric(9,2)`)
		require.Equal(t, fault.Precondition, fault.ClassOf(err))
	}
}

func TestPartsShareTheSnapshotOfThePlan(t *testing.T) {
	at := testenv.Postgres(t)
	exec(t, at, "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 10) AS g(i)")
	d := postgres.New(postgres.Settings{})
	planner, err := d.Open(t.Context(), connection(t, at))
	require.NoError(t, err)
	q := model("SELECT id FROM t")
	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	p, err := planner.(source.Planner).Plan(t.Context(), q, 4)
	require.NoError(t, err)
	require.True(t, planner.(source.Holder).Holds())
	require.Equal(t, "10", p.Watermark)
	exec(t, at, "INSERT INTO t VALUES (5); DELETE FROM t WHERE id = 1")

	q.Snapshot, q.Range = p.Snapshot, p.Parts[0]
	reader := open(t, connection(t, at))
	require.Len(t, values(t, reader, q), 10, "as it was when the run was planned")
	require.NoError(t, planner.Close())
	require.False(t, planner.(source.Holder).Holds())
	require.Contains(t, values(t, reader, q), "5")
	require.NotContains(t, values(t, reader, q), "1", "parts by value go on under a new snapshot")
	require.NotEqual(t, p.Snapshot, reader.(source.Renewer).ReadUnder(), "and say so")
	require.NotEmpty(t, reader.(source.Renewer).ReadUnder())
}

// A held snapshot locks no table: the warehouse's owner may change it while the run's parts are read.
func TestAHeldSnapshotIsInNobodysWay(t *testing.T) {
	at := testenv.Postgres(t)
	exec(t, at, "CREATE TABLE t AS SELECT i AS id FROM generate_series(1, 10) AS g(i)")
	planner := open(t, connection(t, at))
	q := model("SELECT * FROM t")
	q.Model.Iterator = resource.Iterator{Column: "id", Type: resource.IteratorInteger}
	p, err := planner.(source.Planner).Plan(t.Context(), q, 1)
	require.NoError(t, err)
	exec(t, at, "SET lock_timeout = '5s'; ALTER TABLE t ADD COLUMN more text")
	q.Snapshot, q.Range = p.Snapshot, p.Parts[0]
	reader := open(t, connection(t, at))
	require.Len(t, values(t, reader, q), 10)
	require.Equal(t, p.Snapshot, reader.(source.Renewer).ReadUnder())
	schema, err := reader.Describe(t.Context(), q)
	require.NoError(t, err)
	require.Equal(t, 2, schema.NumFields(), "who compares the columns sees that they changed")
}

func TestNothingIsWritten(t *testing.T) {
	at := testenv.Postgres(t)
	exec(t, at, `CREATE TABLE t (id int); CREATE FUNCTION sneak() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO t VALUES (1) RETURNING id'; CREATE SEQUENCE s;`)
	s := open(t, connection(t, at))
	for _, sql := range []string{
		"SELECT sneak() AS x", "SELECT nextval('s') AS x", "SELECT 1 AS x INTO gone", "SELECT id FROM t FOR UPDATE",
		"SELECT set_config('transaction_read_only', 'off', true) AS x, sneak() AS y",
	} {
		var last error
		for _, err := range s.Read(t.Context(), model(sql)) {
			last = err
		}
		require.Error(t, last, sql)
		require.True(t, fault.ClassOf(last).Permanent(), "%s: %v", sql, last)
	}
	require.Empty(t, values(t, s, model("SELECT id FROM t")))
}

// A statement ends on the server when its reader gives up.
func TestCancelReachesTheServer(t *testing.T) {
	at := testenv.Postgres(t)
	s := open(t, connection(t, at))
	q := model("SELECT a.i FROM generate_series(1, 1000000) AS a(i) CROSS JOIN generate_series(1, 1000000) AS b(i)")
	q.Label = "millrace:test/cancel/run"
	ctx, cancel := context.WithCancel(t.Context())
	for _, err := range s.Read(ctx, q) {
		if err != nil {
			require.Equal(t, fault.Cancelled, fault.ClassOf(err))
			continue
		}
		require.Equal(t, []string{"1"}, values(t, s, model("SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'millrace:test/cancel/run'")))
		cancel()
	}
	cancel()
	require.Equal(t, []string{"0"}, values(t, s, model("SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = 'millrace:test/cancel/run' AND state = 'active'")))
}

func TestStatementTimeout(t *testing.T) {
	c := connection(t, testenv.Postgres(t))
	c.Postgres.StatementTimeout = 50 * time.Millisecond
	for _, err := range open(t, c).Read(t.Context(), model("SELECT CAST(pg_sleep(30) AS text) AS x")) {
		require.Equal(t, fault.Unavailable, fault.ClassOf(err))
		require.ErrorContains(t, err, "statement_timeout")
	}
}

func TestFaultsOfConnecting(t *testing.T) {
	good := connection(t, testenv.Postgres(t))
	for name, c := range map[string]struct {
		change func(*resource.Postgres)
		class  fault.Class
		step   string
	}{
		"no such host":     {func(p *resource.Postgres) { p.Host = "no-such-host.invalid" }, fault.Unavailable, "resolve"},
		"nobody listens":   {func(p *resource.Postgres) { p.Port = 1 }, fault.Unavailable, "connect"},
		"no TLS there":     {func(p *resource.Postgres) { p.SSLMode = "verify-full" }, fault.Denied, "tls"},
		"no such role":     {func(p *resource.Postgres) { p.User = "nobody_here" }, fault.Denied, "authenticate"},
		"no such database": {func(p *resource.Postgres) { p.Database = "nothing_here" }, fault.NotFound, "database"},
	} {
		t.Run(name, func(t *testing.T) {
			p := *good.Postgres
			c.change(&p)
			s := open(t, resource.Connection{Postgres: &p})
			_, err := s.Describe(t.Context(), model("SELECT 1 AS a"))
			require.Equal(t, c.class, fault.ClassOf(err), "%v", err)
			steps := s.Check(t.Context())
			require.Equal(t, c.step, steps[len(steps)-1].Name)
			require.False(t, steps[len(steps)-1].OK)
			require.NotEmpty(t, steps[len(steps)-1].Message)
		})
	}
	for _, change := range []func(*resource.Postgres){
		func(p *resource.Postgres) { p.SSLMode = "prefer" },
		func(p *resource.Postgres) { p.SSLMode, p.CA = "verify-ca", "no PEM" },
		func(p *resource.Postgres) { p.SSLMode, p.ClientCertificate = "require", "no PEM" },
	} {
		p := *good.Postgres
		change(&p)
		_, err := postgres.New(postgres.Settings{}).Open(t.Context(), resource.Connection{Postgres: &p})
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
	}
}

func TestCheckWarnsOfARoleThatCouldWrite(t *testing.T) {
	at := testenv.Postgres(t)
	steps := open(t, connection(t, at)).Check(t.Context())
	last := steps[len(steps)-1]
	require.Equal(t, "privileges", last.Name)
	require.True(t, last.OK && last.Warning)
}

// What Setup prints makes a role that reads and does not write.
func TestSetupMakesARoleThatOnlyReads(t *testing.T) {
	at := testenv.Postgres(t)
	c := connection(t, at)
	p := *c.Postgres
	p.User = "reader of " + p.Database
	text, err := postgres.New(postgres.Settings{}).Setup(resource.Connection{Postgres: &p})
	require.NoError(t, err)
	exec(t, at, "CREATE TABLE t AS SELECT 1 AS id")
	exec(t, at, text)
	t.Cleanup(func() { exec(t, at, `DROP OWNED BY "`+p.User+`"; DROP ROLE "`+p.User+`"`) })
	p.Password = resource.Secret{Plain: "choose one and put it into the connection"}
	s := open(t, resource.Connection{Postgres: &p})
	require.Equal(t, []string{"1"}, values(t, s, model("SELECT id FROM t")))
	steps := s.Check(t.Context())
	require.Equal(t, "run query", steps[len(steps)-1].Name, "nothing to warn of")
}

func TestMemoryIsGivenBack(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	s, err := postgres.New(postgres.Settings{Allocator: mem}).Open(t.Context(), connection(t, testenv.Postgres(t)))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for b, err := range s.Read(t.Context(), model("SELECT i, 'x' || i AS s, i::numeric(20,2) AS d FROM generate_series(1, 50000) AS g(i)")) {
		require.NoError(t, err)
		if b.NumRows() > 0 {
			break
		}
	}
	n := int64(0)
	for b, err := range s.Read(t.Context(), model("SELECT i, 'x' || i AS s FROM generate_series(1, 50000) AS g(i)")) {
		require.NoError(t, err)
		n += b.NumRows()
	}
	require.EqualValues(t, 50000, n)
	for _, err := range s.Read(t.Context(), model("SELECT 1 / (30000 - i) AS x FROM generate_series(1, 50000) AS g(i)")) {
		if err != nil {
			require.Equal(t, fault.ReasonQueryInvalid, fault.ReasonOf(err))
		}
	}
}

func BenchmarkRead(b *testing.B) {
	at := testenv.Postgres(b)
	exec(b, at, `CREATE TABLE users AS SELECT i::bigint AS customer_id, 'user'||i||'@example.com' AS email, 'First'||(i%1000) AS first_name, 'Last'||(i%5000) AS last_name, (ARRAY['London','Paris','Berlin'])[1+i%3] AS city, (ARRAY['free','pro'])[1+i%2] AS plan, ((i%100000)/100.0)::numeric(12,2) AS ltv, i%500 AS visits, timestamp '2025-01-01' + i * interval '1 second' AS updated_at, (i%2=0) AS active FROM generate_series(1, 500000) AS g(i)`)
	s := open(b, connection(b, at))
	for b.Loop() {
		start, n := time.Now(), int64(0)
		for r, err := range s.Read(b.Context(), model("SELECT * FROM users")) {
			require.NoError(b, err)
			n += r.NumRows()
		}
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "rows/s")
	}
}
