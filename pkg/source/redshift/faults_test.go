package redshift_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/redshift"
	"millrace.dev/pkg/source/redshift/redshifttest"
)

const many = "SELECT i AS id, 'row ' || i AS name FROM generate_series(1, 20000) AS g(i)"

// on answers an interceptor by which the nth call of a name fails.
func on(name string, n int, f redshifttest.Fault) func(redshifttest.Call) *redshifttest.Fault {
	return func(c redshifttest.Call) *redshifttest.Fault {
		if c.Name == name && c.N == n {
			return &f
		}
		return nil
	}
}

// always is on for every call of a name.
func always(name string, f redshifttest.Fault) func(redshifttest.Call) *redshifttest.Fault {
	return func(c redshifttest.Call) *redshifttest.Fault {
		if c.Name == name {
			return &f
		}
		return nil
	}
}

func TestFaultsOfAnUnload(t *testing.T) {
	signIn(t)
	half := func(b []byte) []byte { return b[:len(b)/2] }
	flipped := func(b []byte) []byte { b[len(b)/3] ^= 0xff; return b }
	none := func([]byte) []byte { return []byte("{") }
	elsewhere := func([]byte) []byte {
		return []byte(`{"entries": [{"url": "s3://millrace-unload/other/x", "meta": {"record_count": 20000}}]}`)
	}
	object := func(part string, f redshifttest.Fault) func(redshifttest.Call) *redshifttest.Fault {
		return func(c redshifttest.Call) *redshifttest.Fault {
			if c.Name == "PutObject" && strings.HasSuffix(c.Text, part) {
				return &f
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		intercept func(redshifttest.Call) *redshifttest.Fault
		class     fault.Class
		reason    fault.Reason
	}{
		"no manifest":              {object("manifest", redshifttest.Fault{Lose: true}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"manifest is no JSON":      {object("manifest", redshifttest.Fault{Mangle: none}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"manifest names another":   {object("manifest", redshifttest.Fault{Mangle: elsewhere}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"a file is lost":           {object("0001_part_00.parquet", redshifttest.Fault{Lose: true}), fault.Unavailable, fault.ReasonSourceChanged},
		"a file is cut":            {object("0001_part_00.parquet", redshifttest.Fault{Mangle: half}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"a file is changed":        {object("0001_part_00.parquet", redshifttest.Fault{Mangle: flipped}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"S3 asks to slow down":     {always("GetObject", redshifttest.Fault{Status: http.StatusServiceUnavailable, Code: "SlowDown"}), fault.Throttled, fault.ReasonWarehouseThrottled},
		"S3 denies":                {always("GetObject", redshifttest.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}), fault.Denied, fault.ReasonWarehouseDenied},
		"downloads break off":      {always("GetObject", redshifttest.Fault{Cut: true}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"credentials ended":        {always("GetObject", redshifttest.Fault{Status: http.StatusBadRequest, Code: "ExpiredToken"}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"the warehouse is dropped": {on("unload", 0, redshifttest.Fault{Cut: true}), fault.Unavailable, fault.ReasonWarehouseUnavailable},
		"the role may not write": {on("unload", 0, redshifttest.Fault{Code: "XX000", Text: "S3ServiceException:Access Denied,Status 403"}),
			fault.Denied, fault.ReasonWarehouseDenied},
		"the time is over": {on("unload", 0, redshifttest.Fault{Code: "57014", Text: "Query cancelled on user's request"}), fault.Unavailable, fault.ReasonQueryInterrupted},
	} {
		t.Run(name, func(t *testing.T) {
			p := redshifttest.Start(t, redshifttest.Options{})
			s, err := redshift.New(redshift.Settings{}).Open(t.Context(), p.Unloading())
			require.NoError(t, err)
			p.Intercept(c.intercept)
			got, err := through(t, s, model(many))
			require.Error(t, err)
			require.Less(t, len(got), 20000)
			require.Equal(t, c.class, fault.ClassOf(err), "%v", err)
			require.Equal(t, c.reason, fault.ReasonOf(err), "%v", err)
			require.NotContains(t, err.Error(), redshifttest.Account, "AWS's texts are not shown")
			p.Intercept(nil)
			require.NoError(t, s.Close())
			require.Empty(t, p.Objects(), "nothing is left in the bucket")
		})
	}
}

// What happens once is got over: a download that breaks off, S3 that asks to slow down.
func TestWhatHappensOnceIsTriedAgain(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	s := open(t, p.Unloading())
	for _, f := range []redshifttest.Fault{{Cut: true}, {Status: http.StatusServiceUnavailable, Code: "SlowDown"}, {Status: http.StatusInternalServerError, Code: "InternalError"}} {
		p.Intercept(on("GetObject", 2, f))
		got, err := through(t, s, model(many))
		require.NoError(t, err)
		require.Len(t, got, 20000)
	}
}

func TestFaultsOfACursor(t *testing.T) {
	p := redshifttest.Start(t, redshifttest.Options{})
	s := open(t, p.Connection())
	p.Intercept(on("fetch", 2, redshifttest.Fault{Cut: true}))
	got, err := read(t.Context(), s, model("SELECT i FROM generate_series(1, 100000) AS g(i)"))
	require.Equal(t, fault.Unavailable, fault.ClassOf(err), "%v", err)
	require.Less(t, len(got), 100000)
	for code, class := range map[string]fault.Class{"28000": fault.Denied, "53300": fault.Throttled, "57P03": fault.Unavailable} {
		p.Intercept(always("login", redshifttest.Fault{Code: code, Text: "no"}))
		_, err := s.Describe(t.Context(), model("SELECT 1 AS a"))
		require.Equal(t, class, fault.ClassOf(err), code)
	}
}

// Temporary passwords are taken once, and anew before they end; a connection that was made goes on when its password ends.
func TestTemporaryCredentials(t *testing.T) {
	signIn(t)
	for name, change := range map[string]func(*resource.Redshift){
		"of a user":      func(r *resource.Redshift) { r.Cluster = redshifttest.Cluster },
		"of an identity": func(r *resource.Redshift) { r.Cluster, r.User = redshifttest.Cluster, "" },
		"of a workgroup": func(r *resource.Redshift) { r.Workgroup, r.User = redshifttest.Workgroup, "" },
	} {
		t.Run(name, func(t *testing.T) {
			p := redshifttest.Start(t, redshifttest.Options{})
			c := p.Connection()
			c.Redshift.Password = resource.Secret{}
			change(c.Redshift)
			s := open(t, c)
			for range 3 {
				require.Equal(t, []string{"1"}, values(t, s, model("SELECT 1 AS one")))
			}
			require.Equal(t, 1, p.Logins())
			require.True(t, slices.ContainsFunc(p.Statements(), func(s redshifttest.Statement) bool { return strings.HasPrefix(s.User, "IAM") }))

			n := 0
			for b, err := range s.Read(t.Context(), model("SELECT i FROM generate_series(1, 100000) AS g(i)")) {
				require.NoError(t, err)
				p.Expire()
				n += int(b.NumRows())
			}
			require.Equal(t, 100000, n, "an ended password ends no session")

			soon := openWith(t, redshift.Settings{Renew: time.Hour}, c)
			for range 2 {
				require.Equal(t, []string{"1"}, values(t, soon, model("SELECT 1 AS one")))
			}
			require.Equal(t, 3, p.Logins(), "what ends within the time of renewal is not used again")
		})
	}
}

func TestTemporaryCredentialsAreRefused(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	c := p.Connection()
	c.Redshift.Password, c.Redshift.Cluster = resource.Secret{}, redshifttest.Cluster
	for code, class := range map[string]fault.Class{
		"AccessDenied": fault.Denied, "ClusterNotFound": fault.NotFound, "ExpiredToken": fault.Unavailable, "Throttling": fault.Throttled, "InvalidParameterValue": fault.Precondition,
	} {
		p.Intercept(always("GetClusterCredentials", redshifttest.Fault{Status: http.StatusBadRequest, Code: code}))
		steps := open(t, c).Check(t.Context())
		require.Len(t, steps, 1)
		require.Equal(t, "credentials", steps[0].Name)
		_, err := open(t, c).Describe(t.Context(), model("SELECT 1 AS a"))
		require.Equal(t, class, fault.ClassOf(err), "%s: %v", code, err)
		require.NotContains(t, err.Error(), redshifttest.Account)
	}
}

// A role of another account is assumed with an external id only.
func TestRolesAreAssumed(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	c := p.Unloading()
	c.Redshift.RoleARN = "arn:aws:iam::" + redshifttest.Account + ":role/reader"
	got, err := through(t, open(t, c), model(many))
	require.NoError(t, err)
	require.Len(t, got, 20000)

	c.Redshift.RoleARN = "arn:aws:iam::444455556666:role/reader"
	_, err = through(t, open(t, c), model(many))
	require.Equal(t, fault.Precondition, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "redshift.external_id")

	c.Redshift.ExternalID = "external-of-444455556666"
	got, err = through(t, open(t, c), model(many))
	require.NoError(t, err)
	require.Len(t, got, 20000)

	c.Redshift.ExternalID = "someone-elses"
	_, err = through(t, open(t, c), model(many))
	require.Equal(t, fault.Denied, fault.ClassOf(err), "%v", err)
}

// Without credentials in the environment nothing else is asked for them: no metadata service is probed.
func TestNoMetadataServiceIsAsked(t *testing.T) {
	signIn(t)
	probed := make(chan struct{}, 8)
	metadata := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { probed <- struct{}{} }), ReadHeaderTimeout: time.Second}
	address := serve(t, metadata)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+address)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	p := redshifttest.Start(t, redshifttest.Options{})
	_, err := through(t, open(t, p.Unloading()), model(many))
	require.Equal(t, fault.Denied, fault.ClassOf(err), "%v", err)
	require.ErrorContains(t, err, "no credentials of AWS")
	require.Empty(t, probed)

	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	_, err = through(t, open(t, p.Unloading()), model(many))
	require.Error(t, err)
	require.NotEmpty(t, probed, "it is where the environment says so")
}

// A statement ends in the warehouse when its reader gives up, an UNLOAD too.
func TestCancelReachesTheWarehouse(t *testing.T) {
	signIn(t)
	p := redshifttest.Start(t, redshifttest.Options{})
	s := open(t, p.Unloading())
	q := model("SELECT a.i FROM generate_series(1, 1000000) AS a(i) CROSS JOIN generate_series(1, 1000000) AS b(i)")
	q.Full = true
	ctx, cancel := context.WithCancel(t.Context())
	p.Intercept(func(c redshifttest.Call) *redshifttest.Fault {
		if c.Name == "unloading" {
			cancel()
		}
		return nil
	})
	_, err := s.(source.Planner).Plan(ctx, q, 1)
	require.Equal(t, fault.Cancelled, fault.ClassOf(err), "%v", err)
	p.Intercept(nil)
	require.Equal(t, []string{"0"}, values(t, s, model("SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%CROSS JOIN%' AND state = 'active' AND pid <> pg_backend_pid()")))
	require.Empty(t, p.Objects())
}
