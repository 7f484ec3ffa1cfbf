package redshift

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift/redshifttest"
)

// dials notes the addresses that are dialled.
type dials struct {
	mu  sync.Mutex
	all []string
}

func (d *dials) add(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, address)
}

// RoundTrip is what a client that had another transport than the driver's would meet.
func (d *dials) RoundTrip(r *http.Request) (*http.Response, error) {
	d.add(r.URL.Host)
	return nil, errors.New("refused")
}

// within replaces what whoever went round the driver would use, until t ends: the process's transport and resolver.
func (d *dials) within(t *testing.T) {
	t.Helper()
	transport, resolver := http.DefaultTransport, net.DefaultResolver
	http.DefaultTransport = d
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(_ context.Context, _, address string) (net.Conn, error) {
		d.add(address)
		return nil, errors.New("refused")
	}}
	t.Cleanup(func() { http.DefaultTransport, net.DefaultResolver = transport, resolver })
}

// TestNothingButTheWarehouseS3AndSTSIsDialled does all that the driver can, as a role and with temporary credentials: the
// warehouse and the endpoints of AWS that the connection names are dialled, and no name is looked up.
func TestNothingButTheWarehouseS3AndSTSIsDialled(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": redshifttest.AccessKey, "AWS_SECRET_ACCESS_KEY": redshifttest.SecretKey, "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_PROFILE": "",
	} {
		t.Setenv(name, value)
	}
	p := redshifttest.Start(t, redshifttest.Options{StateSchema: "millrace"})
	p.Exec(t, "CREATE TABLE people AS SELECT i AS id, 'free' AS plan FROM generate_series(1, 40) AS g(i)")
	outside, inside := &dials{}, &dials{}
	outside.within(t)
	c := p.Unloading()
	c.Redshift.Password, c.Redshift.Cluster, c.Redshift.RoleARN = resource.Secret{}, redshifttest.Cluster, "arn:aws:iam::"+redshifttest.Account+":role/reader"
	opened, err := New(Settings{}).Open(t.Context(), c)
	require.NoError(t, err)
	s, ok := opened.(*Source)
	require.True(t, ok)
	byHTTP, bySQL := s.transport.DialContext, s.config.DialFunc
	s.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		inside.add(address)
		return byHTTP(ctx, network, address)
	}
	s.config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		inside.add(address)
		return bySQL(ctx, network, address)
	}
	s.everything(t)
	require.NoError(t, s.Close())
	require.Empty(t, outside.all)
	slices.Sort(inside.all)
	require.ElementsMatch(t, p.Addresses(), slices.Compact(inside.all))
}

// everything does all that a driver can.
func (s *Source) everything(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, step := range s.Check(ctx) {
		require.True(t, step.OK, step.Message)
	}
	for _, err := range s.Tables(ctx, "") {
		require.NoError(t, err)
	}
	q := source.ChangeQuery{
		Query:  source.Query{Model: resource.DataModel{SQL: "SELECT id, plan FROM people", KeyColumns: []string{"id"}}, Label: "millrace:test/sync/run"},
		Engine: resource.Diff, Owner: "keeper", Compared: []string{"plan"},
	}
	whole := q.Query
	whole.Full = true
	plan, err := s.Plan(ctx, whole, 1)
	require.NoError(t, err)
	whole.Snapshot, whole.Range = plan.Snapshot, plan.Parts[0]
	for _, err := range s.Read(ctx, whole) {
		require.NoError(t, err)
	}
	for run := range 2 {
		q.Attempt.Run = int64(run)
		found, err := s.Changes(ctx, q, 1)
		require.NoError(t, err)
		for _, err := range s.ReadChanges(ctx, q, found.State, found.Parts[0]) {
			require.NoError(t, err)
		}
		if q.Since != "" {
			for _, err := range s.ReadGone(ctx, q, found.State) {
				require.NoError(t, err)
			}
		}
		q.Since = found.State
	}
	cancelled, cancel := context.WithCancel(ctx)
	for _, err := range s.Read(cancelled, source.Query{Model: resource.DataModel{SQL: "SELECT i FROM generate_series(1, 100000) AS g(i)"}}) {
		if err != nil {
			require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
		}
		cancel()
	}
	cancel()
}
