package gateway

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// internal are the methods and services that are none of the public, and why.
var internal = map[protoreflect.FullName]string{
	"millrace.config.v1.ConfigService.GetSyncSnapshot":        "for services: secrets, sealed",
	"millrace.config.v1.ConfigService.ListSchedules":          "for the scheduler: syncs of all workspaces",
	"millrace.config.v1.ConfigService.SetSyncStatus":          "for the scheduler",
	"millrace.config.v1.ConfigService.ListSealedAlerts":       "for the scheduler: secrets, sealed",
	"millrace.scheduler.v1.AccountService":                    "for workers",
	"millrace.extractor.v1.ExtractorService":                  "for services: connections with sealed secrets",
	"millrace.ingestion.v1.IngestionService.Fence":            "for the scheduler",
	"millrace.ingestion.v1.IngestionService.ReadRejectedRows": "for the extractor of a replay",
	"millrace.ingestion.v1.IngestionService.ReadAbsentKeys":   "for the extractor of a mirror",
}

// methods answers every method of the mesh whose generated code is linked in, and every internal one that it met.
func methods(t *testing.T) (public, left []protoreflect.FullName) {
	t.Helper()
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "millrace.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			if internal[s.FullName()] != "" {
				left = append(left, s.FullName())
				continue
			}
			for j := range s.Methods().Len() {
				switch m := s.Methods().Get(j).FullName(); {
				case internal[m] != "":
					left = append(left, m)
				default:
					public = append(public, m)
				}
			}
		}
		return true
	})
	return public, left
}

func TestEveryPublicMethodHasARoute(t *testing.T) {
	table, err := readRoutes()
	require.NoError(t, err)
	var routed []protoreflect.FullName
	for _, r := range table {
		routed = append(routed, r.method.FullName())
	}
	slices.Sort(routed)
	routed = slices.Compact(routed)
	public, left := methods(t)
	slices.Sort(public)
	require.Equal(t, public, routed, "rest.yaml has every public method, and no other")
	for name := range internal {
		if name != "millrace.extractor.v1.ExtractorService" { // whose code is not linked in
			require.Contains(t, left, name, "it is no method any more")
		}
	}
}

func TestEveryServiceOfTheContractsIsPublicOrInternal(t *testing.T) {
	files, err := filepath.Glob("../../proto/millrace/*/v1/*.proto")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	table, err := readRoutes()
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		pkg := regexp.MustCompile(`(?m)^package (\S+);`).FindSubmatch(text)
		require.NotNil(t, pkg, file)
		for _, s := range regexp.MustCompile(`(?m)^\s*service\s+(\w+)`).FindAllSubmatch(text, -1) {
			name := protoreflect.FullName(string(pkg[1]) + "." + string(s[1]))
			routed := slices.ContainsFunc(table, func(r route) bool { return r.method.Parent().FullName() == name })
			require.NotEqual(t, internal[name] != "", routed, "%s has routes, or a reason to have none", name)
		}
	}
}

func TestRoutesAreOfOneStyle(t *testing.T) {
	table, err := readRoutes()
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, r := range table {
		require.True(t, strings.HasPrefix(r.path, "/v1/workspaces/{workspace}/") || strings.HasPrefix(r.path, "/v1/workspaces/{data_model.meta.workspace}/"), r.path)
		require.False(t, seen[r.verb+r.path], "%s %s", r.verb, r.path)
		seen[r.verb+r.path] = true
		require.Contains(t, table.allowed(strings.NewReplacer("{", "", "}", "").Replace(r.path)), r.verb)
		switch r.verb {
		case "GET", "DELETE":
			require.Empty(t, r.body, r.path)
		case "PATCH":
			require.NotEmpty(t, r.body, r.path)
		}
		for _, v := range r.variables() {
			f, path := find(r.method.Input(), v)
			require.NotNil(t, f, r.path)
			require.Equal(t, v, path)
			require.Equal(t, protoreflect.StringKind, f.Kind(), "a path can not fail to be read")
		}
	}
}

// TestEveryParameterIsJudgedBeforeTheGeneratedCode reads each parameter that a query can have: what the generated code would
// say of a value that does not fit has the value in it.
func TestEveryParameterIsJudgedBeforeTheGeneratedCode(t *testing.T) {
	table, err := readRoutes()
	require.NoError(t, err)
	judged := 0
	var walk func(r route, d protoreflect.MessageDescriptor, prefix string)
	walk = func(r route, d protoreflect.MessageDescriptor, prefix string) {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			name := prefix + string(f.Name())
			if m := f.Message(); m != nil && !f.IsMap() && !isText(m) {
				if strings.Count(name, ".") < 4 && (r.body == "" || name != r.body) {
					walk(r, m, name+".")
				}
				continue
			}
			isString := f.Kind() == protoreflect.StringKind || f.Message() != nil && f.Message().Name() == "FieldMask"
			_, faults := r.query(url.Values{name: {"no-value"}})
			if isString && len(faults) == 0 {
				continue
			}
			judged++
			require.Len(t, faults, 1, "%s %s: %s", r.verb, r.path, name)
			require.NotContains(t, faults[0].String(), "no-value")
		}
	}
	for _, r := range table {
		walk(r, r.method.Input(), "")
	}
	require.Greater(t, judged, len(table))
}

func TestTriggersTakePUTAndPOST(t *testing.T) {
	table, err := readRoutes()
	require.NoError(t, err)
	require.Equal(t, []string{"POST", "PUT"}, table.allowed("/v1/workspaces/default/syncs/customers:trigger"))
	require.Equal(t, []string{"DELETE", "GET", "PATCH"}, table.allowed("/v1/workspaces/default/syncs/customers"))
	require.Empty(t, table.allowed("/v1/workspaces/default/syncs/customers/"))
	require.Empty(t, table.allowed("/v1/workspaces/default/teapots"))
	require.Empty(t, table.allowed("/v1/workspaces//syncs"))
}

func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(document)
	require.NoError(t, err)
	return doc
}

func TestTheDocumentIsValidAndHasEveryRoute(t *testing.T) {
	doc := loadDocument(t)
	require.NoError(t, doc.Validate(t.Context()))
	table, err := readRoutes()
	require.NoError(t, err)
	var want, got []string
	for _, r := range table {
		path := r.path
		for _, v := range r.variables() {
			path = strings.Replace(path, "{"+v+"}", "{"+v[strings.LastIndexByte(v, '.')+1:]+"}", 1)
		}
		want = append(want, r.verb+" "+path)
		op := doc.Paths.Value(path).GetOperation(r.verb)
		require.NotNil(t, op, "%s %s", r.verb, path)
		_, streamed := op.Responses.Value("200").Value.Content["application/x-ndjson"]
		require.Equal(t, r.streams(), streamed, path)
		require.Equal(t, r.body != "", op.RequestBody != nil, path)
		require.Equal(t, "#/components/schemas/Problem", op.Responses.Default().Value.Content["application/problem+json"].Schema.Ref)
	}
	for path, item := range doc.Paths.Map() {
		for verb := range item.Operations() {
			got = append(got, verb+" "+path)
		}
	}
	require.ElementsMatch(t, want, got)
}

func TestTheDocumentSpeaksTheWordsOfTheDocumentation(t *testing.T) {
	doc := loadDocument(t)
	run := doc.Components.Schemas["Run"].Value
	require.True(t, run.Properties["run_no"].Value.Type.Is("string"), "64-bit integers are texts")
	require.Contains(t, doc.Components.Schemas["RunState"].Value.Enum, any("partially_succeeded"))
	for name, s := range doc.Components.Schemas {
		for _, e := range s.Value.Enum {
			word, ok := e.(string)
			require.True(t, ok)
			require.Equal(t, strings.ToLower(word), word, name)
		}
	}
}
