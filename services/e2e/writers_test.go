package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/app"
	"millrace.dev/pkg/testenv"
	"millrace.dev/services/config"
	"millrace.dev/services/extractor"
	"millrace.dev/services/ingestion"
	"millrace.dev/services/mapper"
	"millrace.dev/services/scheduler"
)

// shop is a PostgreSQL that others write while it is read.
type shop struct {
	url  string
	conn *pgx.Conn
}

// newShop answers a shop with the customers 1 to n, one a second apart.
func newShop(t *testing.T, n int) shop {
	t.Helper()
	s := shop{url: testenv.Postgres(t)}
	s.conn = s.connect(t)
	s.exec(t, "CREATE TABLE customers (id BIGINT PRIMARY KEY, generation BIGINT, updated_at TIMESTAMP)")
	s.exec(t, fmt.Sprintf("INSERT INTO customers SELECT i, 0, TIMESTAMP '2024-01-01' + i * INTERVAL '1 second' FROM generate_series(1, %d) i", n))
	s.exec(t, "ANALYZE customers")
	return s
}

// connect answers a connection of its own.
func (s shop) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (s shop) exec(t *testing.T, sql string) {
	t.Helper()
	_, err := s.conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// documents answers the connection, model, mapping and sync of the customers.
func (s shop) documents() string {
	c := s.conn.Config()
	return fmt.Sprintf(`
kind: Connection
id: shop
postgres: {host: %s, port: %d, database: %s, user: %s, password: '%s', sslmode: disable}
---
kind: DataModel
id: customers
connection: shop
record_kind: users
sql: SELECT id, generation, updated_at FROM customers
key_columns: [id]
iterator: {column: updated_at, type: timestamp, time_zone: UTC}
---
kind: Mapping
id: customers
rules:
  - {column: id, to: user_identities.customer_id, type: string}
  - {column: generation, to: user_attributes.generation}
---
kind: Sync
id: customers
data_model: customers
mapping: customers
mode: incremental
lookback: 10m
state: active
`, c.Host, c.Port, c.Database, c.User, c.Password)
}

// smallParts starts the one process such that a run has several parts and each part many batches.
func smallParts(t *testing.T, partRows int64) mesh {
	t.Helper()
	ex := extractor.Module()
	*ex.Settings.(*extractor.Settings) = extractor.Settings{PartRows: partRows, BatchRows: 100}
	p, err := app.Start(t.Context(), app.Options{
		Modules:  []app.Module{config.Module(), scheduler.Module(), ex, mapper.Module(), ingestion.Module()},
		Settings: app.Settings{Data: t.TempDir(), GRPC: "127.0.0.1:0", HTTP: "none"},
		LogTo:    t.Output(),

		FilesAnywhere: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	conn := dial(t, p.Addr())
	return clients(conn, conn, conn)
}

// customers answers the generation of every customer that is stored.
func (m mesh) customers(t *testing.T) map[string]int64 {
	t.Helper()
	out := map[string]int64{}
	for token := ""; ; {
		res, err := m.ingestion.ListProfiles(t.Context(), &ingestionv1.ListProfilesRequest{Workspace: m.workspace, PageSize: 1000, PageToken: token})
		require.NoError(t, err)
		for _, p := range res.GetProfiles() {
			out[p.GetIdentities()[0].GetValue()] = int64(p.GetUserAttributes().GetFields()["generation"].GetNumberValue())
		}
		if token = res.GetNextPageToken(); token == "" {
			return out
		}
	}
}

// Every hundredth customer is written in each generation; the others come and go.
const written = 100

// adversary writes the shop's customers [1, n] for as long as it is let, one generation a transaction: the written ones
// all get its number and other places in the window, one of the rest goes and a new one comes. So what is read belongs to
// one generation, or it is of no snapshot.
type adversary struct {
	n    int
	conn *pgx.Conn
	stop context.CancelFunc
	done sync.WaitGroup
	last int64 // the last generation; valid once done
	err  error
}

func (a *adversary) start(ctx context.Context) {
	ctx, a.stop = context.WithCancel(ctx)
	a.done.Go(func() {
		for ctx.Err() == nil && a.err == nil {
			if a.err = a.generation(context.WithoutCancel(ctx), a.last+1); a.err == nil {
				a.last++
			}
		}
	})
}

func (a *adversary) generation(ctx context.Context, g int64) error {
	return pgx.BeginFunc(ctx, a.conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE customers SET generation = $1::bigint,
			updated_at = TIMESTAMP '2024-01-01' + (1 + (id * 7919 + $1::bigint * 104729) % $2::bigint) * INTERVAL '1 second'
			WHERE id % $3::bigint = 0 AND id <= $2::bigint`, g, a.n, written)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, "DELETE FROM customers WHERE id = $1", a.gone(g)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO customers VALUES ($1::bigint, $2::bigint,
			TIMESTAMP '2024-01-01' + (1 + $2::bigint * 15485863 % $3::bigint) * INTERVAL '1 second')`, a.come(g), g, a.n)
		return err
	})
}

// come is the customer that comes in generation g, gone the one that goes: first those of the beginning that are not
// written, in a scattered order, then those that came.
func (a *adversary) come(g int64) int64 { return int64(a.n) + g }

func (a *adversary) gone(g int64) int64 {
	others := int64(a.n - a.n/written)
	if g > others {
		return a.come(g - others)
	}
	i := g * 5003 % others // prime to others
	return i + 1 + i/(written-1)
}

// state answers the customers of a generation.
func (a *adversary) state(g int64) map[string]int64 {
	out := map[string]int64{}
	for id := 1; id <= a.n; id++ {
		out[fmt.Sprint(id)] = 0
		if id%written == 0 {
			out[fmt.Sprint(id)] = g
		}
	}
	for i := int64(1); i <= g; i++ {
		out[fmt.Sprint(a.come(i))] = i
		delete(out, fmt.Sprint(a.gone(i)))
	}
	return out
}

// TestF38TheStateIsTheSnapshot writes the source all the while a run reads it in eight parts: rows change, vanish, appear
// and move over the parts' boundaries. What is stored is one generation of the table.
func TestF38TheStateIsTheSnapshot(t *testing.T) {
	const n = 20_000
	s := newShop(t, n)
	m := smallParts(t, n/8)
	m.apply(t, "", s.documents())
	a := &adversary{n: n, conn: s.connect(t)}
	a.start(t.Context())
	r := m.run(t, "customers")
	a.stop()
	a.done.Wait()
	require.NoError(t, a.err)
	require.Greater(t, r.GetParts(), int64(4))
	require.EqualValues(t, n, r.GetCounts().GetRead(), "each generation has as many rows")
	require.EqualValues(t, n, r.GetCounts().GetCreated())

	got := m.customers(t)
	g := got[fmt.Sprint(written)]
	require.Equal(t, a.state(g), got, "what is stored is no generation of the table")
	require.Greater(t, a.last, g, "nobody wrote while the run read")
	t.Logf("the run read generation %d of %d", g, a.last)

	// Of what happened since, the next full run brings what is there; incremental runs delete nothing.
	r = m.run(t, "customers", full)
	require.EqualValues(t, n, r.GetCounts().GetRead())
	now := m.customers(t)
	for id := range a.state(a.last) {
		got[id] = 0
	}
	require.Equal(t, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(now)))
}

// TestF39LateCommits commits rows after a run whose watermark is above them. Inside the lookback the next run finds them
// and counts them as late; below it a full run does.
func TestF39LateCommits(t *testing.T) {
	const n = 2_000
	s := newShop(t, n)
	m := smallParts(t, n)
	m.apply(t, "", s.documents())
	// Two writers take their times from before the watermark of 00:33:20, and commit after it was read.
	inside, below := s.late(t, 5_001, "2024-01-01 00:23:20"), s.late(t, 5_002, "2024-01-01 00:23:19.999999")
	first := m.run(t, "customers")
	require.EqualValues(t, n, first.GetCounts().GetCreated())
	require.NoError(t, inside.Commit(t.Context()))
	require.NoError(t, below.Commit(t.Context()))

	second := m.run(t, "customers")
	require.EqualValues(t, 602, second.GetCounts().GetRead(), "the lookback of ten minutes, both ends included, and the late row")
	require.EqualValues(t, 1, second.GetCounts().GetCreated())
	require.EqualValues(t, 1, second.GetCounts().GetLateRows())
	require.Contains(t, m.customers(t), "5001")
	require.NotContains(t, m.customers(t), "5002")
	again := m.run(t, "customers")
	require.EqualValues(t, 602, again.GetCounts().GetUnchanged(), "found once")
	require.Zero(t, again.GetCounts().GetLateRows())

	third := m.run(t, "customers", full)
	require.EqualValues(t, n+2, third.GetCounts().GetRead())
	require.EqualValues(t, 1, third.GetCounts().GetCreated())
	require.EqualValues(t, n+1, third.GetCounts().GetUnchanged())
	require.Contains(t, m.customers(t), "5002")
}

// late inserts a customer in a transaction that the caller commits.
func (s shop) late(t *testing.T, id int64, at string) pgx.Tx {
	t.Helper()
	tx, err := s.connect(t).Begin(t.Context())
	require.NoError(t, err)
	when, err := time.Parse("2006-01-02 15:04:05", at)
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO customers VALUES ($1, 1, $2)", id, when)
	require.NoError(t, err)
	return tx
}
