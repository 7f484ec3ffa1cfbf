package postgres_test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/testenv"
)

// breaking answers c by a way that breaks off after n bytes of the server's.
func breaking(t *testing.T, c resource.Connection, n int64) resource.Connection {
	t.Helper()
	target := net.JoinHostPort(c.Postgres.Host, strconv.Itoa(c.Postgres.Port))
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target) //nolint:noctx // at once
			if err != nil {
				_ = client.Close()
				continue
			}
			work.Go(func() { _, _ = io.Copy(server, client) })
			work.Go(func() {
				_, _ = io.CopyN(client, server, n)
				_, _ = client.Close(), server.Close()
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		work.Wait()
	})
	p := *c.Postgres
	p.Host, p.Port = "127.0.0.1", l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // tcp has it
	return resource.Connection{Postgres: &p}
}

// Whole batches come before the fault, and no row of the one that broke off.
func TestAConnectionThatBreaksOffInTheMiddleOfTheRows(t *testing.T) {
	c := breaking(t, connection(t, testenv.Postgres(t)), 1_500_001)
	rows, failed := int64(0), error(nil)
	for b, err := range open(t, c).Read(t.Context(), model("SELECT i, repeat('x', 50) AS x FROM generate_series(1, 100000) AS t(i)")) {
		if failed = err; err == nil {
			rows += b.NumRows()
		}
	}
	require.Equal(t, fault.Unavailable, fault.ClassOf(failed))
	require.Equal(t, fault.ReasonWarehouseUnavailable, fault.ReasonOf(failed))
	require.Positive(t, rows)
	require.Zero(t, rows%16384, "whole batches")
	require.Less(t, rows, int64(100_000))
}
