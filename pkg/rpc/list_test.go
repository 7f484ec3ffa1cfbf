package rpc_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

func TestPageTokensBelongToTheirRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		request := rapid.SliceOf(rapid.String()).Draw(t, "request")
		after := rapid.StringN(1, -1, -1).Draw(t, "after")
		p, err := rpc.NewPage(0, "", request...)
		require.NoError(t, err)
		token := p.Next(after)
		p, err = rpc.NewPage(5, token, request...)
		require.NoError(t, err)
		require.Equal(t, after, p.After)
		require.Equal(t, 5, p.Size)
		_, err = rpc.NewPage(5, token, append(request, "more")...)
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
	})
	p, err := rpc.NewPage(5000, "")
	require.NoError(t, err)
	require.Equal(t, 1000, p.Size)
	require.Empty(t, p.Next(""))
	require.Equal(t, 100, rpc.PageSize(0))
	for _, token := range []string{"x", "%%%", "AAAAAAAAAAAAAAAA"} {
		_, err = rpc.NewPage(1, token)
		require.Equal(t, fault.Invalid, fault.ClassOf(err))
	}
	_, err = rpc.NewPage(-1, "")
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
}

func TestFilter(t *testing.T) {
	for text, want := range map[string]rpc.Filter{
		"":                               nil,
		"state=failed":                   {{"state", "failed"}},
		" state = failed  AND  sync=s1 ": {{"state", "failed"}, {"sync", "s1"}},
		`name="a AND b" and sync="\"q="`: {{"name", "a AND b"}, {"sync", `"q=`}},
		"name=land and state=x":          {{"name", "land"}, {"state", "x"}},
	} {
		got, err := rpc.ParseFilter(text, "state", "sync", "name")
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, violations := range map[string]int{
		"state":                       1,
		"colour=red":                  1,
		"state=":                      1,
		"state=a b":                   1,
		`state="a`:                    1,
		"state=a AND state=b":         1,
		"state!=a":                    1,
		"x=1 AND y=2 AND state":       3,
		"state=failed OR sync=s1":     1,
		"state=failed AND":            1,
		"state=failed AND  AND sync=": 2,
	} {
		_, err := rpc.ParseFilter(text, "state", "sync")
		require.Equal(t, fault.Invalid, fault.ClassOf(err), text)
		require.Len(t, fault.As(err).Violations, violations, text)
	}
	f, err := rpc.ParseFilter("state=failed", "state")
	require.NoError(t, err)
	v, ok := f.Value("state")
	require.True(t, ok)
	require.Equal(t, "failed", v)
	_, ok = f.Value("sync")
	require.False(t, ok)
}

func TestOrderBy(t *testing.T) {
	got, err := rpc.ParseOrderBy(" name desc, create_time ,id ASC", "name", "create_time", "id")
	require.NoError(t, err)
	require.Equal(t, []rpc.Order{{"name", true}, {"create_time", false}, {"id", false}}, got)
	got, err = rpc.ParseOrderBy("  ")
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = rpc.ParseOrderBy("name up, colour, name, name, ,id a b", "name", "id")
	require.Len(t, fault.As(err).Violations, 5)
}

func TestEtag(t *testing.T) {
	require.NoError(t, rpc.CheckEtag(rpc.Etag(3), rpc.Etag(3)))
	require.Equal(t, fault.ReasonStaleEtag, fault.ReasonOf(rpc.CheckEtag(rpc.Etag(2), rpc.Etag(3))))
	require.Equal(t, fault.Invalid, fault.ClassOf(rpc.CheckEtag("", rpc.Etag(3))))
}

func mask(paths ...string) *fieldmaskpb.FieldMask { return &fieldmaskpb.FieldMask{Paths: paths} }

func TestMerge(t *testing.T) {
	fixed := []string{"meta.id", "meta.etag"}
	feed := func() *configv1.Feed {
		return &configv1.Feed{Meta: &configv1.Meta{Id: "f", Etag: "v1", DisplayName: "old", Labels: map[string]string{"a": "b"}}, Environment: configv1.Environment_ENVIRONMENT_PROD}
	}
	into := feed()
	from := &configv1.Feed{Meta: &configv1.Meta{Id: "f", DisplayName: "new"}}
	require.NoError(t, rpc.Merge(into, from, mask("meta.display_name"), fixed...))
	require.Equal(t, "new", into.GetMeta().GetDisplayName())
	require.Equal(t, "b", into.GetMeta().GetLabels()["a"], "not named, not changed")
	require.Equal(t, configv1.Environment_ENVIRONMENT_PROD, into.GetEnvironment())

	into = feed()
	require.NoError(t, rpc.Merge(into, from, mask("meta"), fixed...))
	require.Equal(t, "v1", into.GetMeta().GetEtag(), "a message that holds fixed fields means the others")
	require.Empty(t, into.GetMeta().GetLabels(), "named and unset, cleared")
	require.Equal(t, configv1.Environment_ENVIRONMENT_PROD, into.GetEnvironment())

	require.NoError(t, rpc.Merge(into, from, mask("*"), fixed...))
	require.Equal(t, configv1.Environment_ENVIRONMENT_UNSPECIFIED, into.GetEnvironment())
	require.Equal(t, "v1", into.GetMeta().GetEtag())

	into = feed()
	err := rpc.Merge(into, &configv1.Feed{Meta: &configv1.Meta{Id: "g", DisplayName: "new"}}, mask("meta.display_name", "meta.id", "colour", "environment.x", "meta.labels.a"), fixed...)
	require.Len(t, fault.As(err).Violations, 4)
	require.Equal(t, "old", into.GetMeta().GetDisplayName(), "all or nothing")
	require.NoError(t, rpc.Merge(into, from, mask("meta.display_name", "meta.id"), fixed...), "a fixed field may be named unchanged")
	require.Equal(t, fault.Invalid, fault.ClassOf(rpc.Merge(into, from, nil)))
	require.Equal(t, fault.Invalid, fault.ClassOf(rpc.Merge(into, from, mask())))
}
