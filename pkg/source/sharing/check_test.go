//go:build cgo && duckdb_arrow

package sharing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sharing"
	"millrace.dev/pkg/source/sharing/sharingtest"
)

func stepOf(t *testing.T, steps []source.CheckStep, name string) source.CheckStep {
	t.Helper()
	for _, s := range steps {
		if s.Name == name {
			return s
		}
	}
	require.Fail(t, "no step "+name)
	return source.CheckStep{}
}

func TestCheckNamesEachStep(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, people)
	steps := open(t, p).Check(t.Context())
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
		require.True(t, s.OK, "%s: %s", s.Name, s.Message)
	}
	require.Equal(t, []string{"profile", "expiry", "resolve", "connect", "tls", "authenticate", "share", "schema", "table", "run query"}, names)
	require.True(t, stepOf(t, steps, "tls").Warning, "the token goes unencrypted")
	require.False(t, stepOf(t, steps, "expiry").Warning)

	for step, spoil := range map[string]func(*resource.DeltaSharing){
		"profile": func(d *resource.DeltaSharing) { d.Profile.Plain = "{}" },
		"authenticate": func(d *resource.DeltaSharing) {
			d.Profile.Plain = strings.Replace(d.Profile.Plain, "token-1", "token-0", 1)
		},
		"share":  func(d *resource.DeltaSharing) { d.Share = "nothing" },
		"schema": func(d *resource.DeltaSharing) { d.Schema = "nothing" },
	} {
		c := p.Connection()
		spoil(c.DeltaSharing)
		steps := openWith(t, sharing.Settings{}, c).Check(t.Context())
		last := steps[len(steps)-1]
		require.Equal(t, step, last.Name)
		require.False(t, last.OK)
		require.NotEmpty(t, last.Message)
		require.NotContains(t, last.Message, "token-")
	}
	p.Set("people", sharingtest.Table{Mapped: true})
	last := stepOf(t, open(t, p).Check(t.Context()), "run query")
	require.True(t, last.OK)
	require.True(t, last.Warning, "others may be readable")
	require.Contains(t, last.Message, "maps its columns")
}

// A profile that has expired, or of a version that is not known, is the owner's to mend: Precondition, before anything is
// dialled.
func TestProfilesThatAreNotTaken(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, people)
	valid := p.Profile()
	for says, text := range map[string]string{
		"shareCredentialsVersion 99": strings.Replace(valid, `"shareCredentialsVersion":1`, `"shareCredentialsVersion":99`, 1),
		"expired on 2021-11-12":      strings.Replace(valid, `"endpoint"`, `"expirationTime":"2021-11-12T00:12:29.0Z","endpoint"`, 1),
		"other than bearer_token":    strings.Replace(valid, `"shareCredentialsVersion":1`, `"shareCredentialsVersion":2,"type":"oauth_client_credentials"`, 1),
		"no JSON document":           "token-1",
		"no bearerToken":             strings.Replace(valid, "token-1", "token\\n1", 1),
		"no http or https address":   strings.Replace(valid, "http://", "ftp://", 1),
		"is no instant":              strings.Replace(valid, `"endpoint"`, `"expirationTime":"soon","endpoint"`, 1),
	} {
		p.Intercept(nil)
		c := p.Connection()
		c.DeltaSharing.Profile.Plain = text
		s := openWith(t, sharing.Settings{}, c)
		_, err := read(t.Context(), s, table("people"))
		require.Equal(t, fault.Precondition, fault.ClassOf(err), says)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "token-1")
		steps := s.Check(t.Context())
		require.False(t, steps[len(steps)-1].OK, says)
		require.Empty(t, p.Calls(), says)
	}
	c := p.Connection()
	c.DeltaSharing.Profile.Plain = strings.Replace(valid, `"shareCredentialsVersion":1`, `"shareCredentialsVersion":2,"type":"bearer_token"`, 1)
	require.Len(t, values(t, openWith(t, sharing.Settings{}, c), table("people")), 5)
	c.DeltaSharing.Profile = resource.Secret{}
	_, err := sharing.New(sharing.Settings{}).Open(t.Context(), c)
	require.Equal(t, fault.Denied, fault.ClassOf(err))
}

func TestExpiryIsWarnedOfTwoWeeksAhead(t *testing.T) {
	end := time.Date(2030, 5, 15, 12, 0, 0, 0, time.UTC)
	p := sharingtest.Start(t, sharingtest.Options{Expires: end})
	for _, c := range []struct {
		before      time.Duration
		ok, warning bool
	}{{15 * 24 * time.Hour, true, false}, {14*24*time.Hour + time.Second, true, false}, {14*24*time.Hour - time.Second, true, true}, {time.Second, true, true}, {0, false, false}} {
		s := openWith(t, sharing.Settings{Now: func() time.Time { return end.Add(-c.before) }}, p.Connection())
		step := stepOf(t, s.Check(t.Context()), "expiry")
		require.Equal(t, c.ok, step.OK, "%s before", c.before)
		require.Equal(t, c.warning, step.Warning, "%s before", c.before)
		require.Contains(t, step.Message, "2030-05-15")
	}
}

// A token that the provider has rotated is refused until the connection has the new profile.
func TestRotatedTokens(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, people)
	s := open(t, p)
	p.RotateToken()
	_, err := read(t.Context(), s, table("people"))
	require.Equal(t, fault.Denied, fault.ClassOf(err))
	require.Len(t, values(t, open(t, p), table("people")), 5)
}

func TestTablesAreListed(t *testing.T) {
	p := sharingtest.Start(t, sharingtest.Options{})
	p.Exec(t, people+`; CREATE TABLE "Odd name" (a INTEGER); CREATE TABLE refused (a INTEGER); CREATE TABLE walls (a TIMESTAMP); CREATE VIEW seen AS SELECT id FROM people`)
	p.Set("refused", sharingtest.Table{Refused: "DS_UNSUPPORTED_DELTA_TABLE_FEATURES"})
	b, ok := source.As[source.Browser](open(t, p))
	require.True(t, ok)
	got := map[string][]source.Column{}
	for table, err := range b.Tables(t.Context(), "") {
		require.NoError(t, err)
		got[table.Name] = table.Columns
	}
	require.Equal(t, map[string][]source.Column{
		"people": {{Name: "id", Type: "long"}, {Name: "ts", Type: "timestamp", Nullable: true}}, `"Odd name"`: {{Name: "a", Type: "integer", Nullable: true}},
		"refused": nil, "walls": {{Name: "a", Type: "timestamp_ntz", Nullable: true}},
	}, got, "views are not shared")
	n := 0
	for table, err := range b.Tables(t.Context(), "sales.peo") {
		require.NoError(t, err)
		require.Equal(t, "people", table.Name)
		n++
	}
	require.Equal(t, 1, n)
	p.Intercept(on("list", 2, &sharingtest.Fault{Status: 500}))
	var last error
	for _, err := range b.Tables(t.Context(), "") {
		last = err
	}
	require.Equal(t, fault.Unavailable, fault.ClassOf(last))
}

func TestSetupNamesWhatTheProviderRuns(t *testing.T) {
	text, err := sharing.New(sharing.Settings{}).Setup(resource.Connection{DeltaSharing: &resource.DeltaSharing{Share: "sh`op", Schema: "sales"}})
	require.NoError(t, err)
	for _, line := range []string{"CREATE SHARE IF NOT EXISTS `sh``op`;", "AS `sales`.<table> WITH HISTORY", "CREATE RECIPIENT", "GRANT SELECT ON SHARE `sh``op` TO RECIPIENT", "delta.enableDeletionVectors = false", "delta.enableChangeDataFeed = true"} {
		require.Contains(t, text, line)
	}
}
