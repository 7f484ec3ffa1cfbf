// Package services_test holds the rules of direction: who may import whom, and where heavy dependencies may stand.
package services_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "millrace.dev/"

// listed is what `go list -json` says of a package.
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	GoFiles      []string
}

func list(t *testing.T, env []string, args ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps,GoFiles"}, args...)...)
	cmd.Dir = ".."
	cmd.Env = append(cmd.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var all []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, p)
	}
}

// service answers the first folder below services, "" for other packages.
func service(pkg string) string {
	rest, ok := strings.CutPrefix(pkg, root+"services/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func TestPkgNeverImportsServices(t *testing.T) {
	for _, p := range list(t, nil, "./pkg/...") {
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			require.False(t, strings.HasPrefix(i, root+"services"), "%s imports %s", p.ImportPath, i)
		}
	}
}

// The binary for a laptop and the end-to-end tests host every service; nothing else imports another service.
func TestAServiceNeverImportsAnother(t *testing.T) {
	hosts := []string{"millrace", "e2e"}
	for _, p := range list(t, nil, "./services/...") {
		for _, i := range p.Imports {
			own, other := service(p.ImportPath), service(i)
			if other == "" || own == other || slices.Contains(hosts, own) {
				continue
			}
			require.Fail(t, "a service imports another", "%s imports %s", p.ImportPath, i)
		}
	}
}

func TestSeamsNeverImportTheirDrivers(t *testing.T) {
	for _, p := range list(t, nil, "./pkg/source", "./pkg/store", "./pkg/quota") {
		for _, i := range p.Imports {
			require.False(t, strings.HasPrefix(i, p.ImportPath+"/"), "%s imports %s", p.ImportPath, i)
		}
	}
}

func TestDriversAreNamedInOnePlace(t *testing.T) {
	drivers := map[string]string{"pkg/source/": "extractor", "pkg/store/": "ingestion"}
	for _, p := range list(t, nil, "./services/...") {
		for _, i := range p.Imports {
			for seam, owner := range drivers {
				if strings.HasPrefix(i, root+seam) && !strings.HasSuffix(i, "test") && service(p.ImportPath) != "e2e" {
					require.Equal(t, owner, service(p.ImportPath), "%s imports %s", p.ImportPath, i)
				}
			}
		}
	}
}

func TestThePureCoreHasNoContextNoClockAndNoLog(t *testing.T) {
	forbidden := []string{"context", "log", "log/slog", "os", "net", "net/http", "database/sql", "google.golang.org/grpc"}
	for _, p := range list(t, nil, "./pkg/mapping", "./pkg/identity", "./pkg/profile", "./pkg/run/...", "./pkg/window", "./pkg/schedule", "./pkg/drift") {
		for _, i := range p.Imports {
			require.NotContains(t, forbidden, i, "%s imports %s", p.ImportPath, i)
		}
	}
}

func TestHeavyDependenciesStandWhereTheyAreUsed(t *testing.T) {
	heavy := []string{"github.com/duckdb/", "github.com/snowflakedb/", "cloud.google.com/go/bigquery", "github.com/databricks/", "github.com/aws/aws-sdk-go-v2/service/redshift"}
	for _, name := range []string{"config", "scheduler", "mapper", "ingestion", "trace", "gateway"} {
		for _, p := range list(t, nil, "./services/"+name+"/cmd/"+name) {
			for _, d := range p.Deps {
				for _, h := range heavy {
					require.False(t, strings.HasPrefix(d, h), "%s depends on %s", p.ImportPath, d)
				}
			}
		}
	}
}

// TestTestEnvironmentsAreNotLinkedIntoBinaries looks at our own packages: Thrift's library, which the client of Databricks
// brings, has a logger for tests beside the others.
func TestTestEnvironmentsAreNotLinkedIntoBinaries(t *testing.T) {
	imports := map[string][]string{}
	for _, p := range list(t, nil, "./gen/...", "./pkg/...", "./services/...") {
		imports[p.ImportPath] = p.Imports
	}
	for _, p := range list(t, nil, "./services/...") {
		if !strings.Contains(p.ImportPath, "/cmd/") {
			continue
		}
		for _, d := range p.Deps {
			require.NotContains(t, imports[d], "testing", "%s links package testing by %s", p.ImportPath, d)
			require.False(t, strings.HasPrefix(d, root) && (strings.HasSuffix(d, "test") || path.Base(d) == "testenv"), "%s links %s", p.ImportPath, d)
		}
	}
}

func TestNoPackageIsABag(t *testing.T) {
	for _, p := range list(t, nil, "./gen/...", "./pkg/...", "./services/...") {
		require.NotContains(t, []string{"common", "util", "utils", "helpers", "types", "models"}, path.Base(p.ImportPath))
	}
}

// Generated types stay at a service's edge, and in the packages of pkg that turn values into messages. The console is all
// edge: its pages are made of what the services answer.
func TestGeneratedTypesStayAtTheEdge(t *testing.T) {
	edges := []string{"server", "clients", "convert", "module"}
	for _, p := range list(t, nil, "./services/...") {
		if p.ImportPath == root+"services/gateway/console" {
			continue
		}
		if !slices.ContainsFunc(p.Imports, func(i string) bool { return strings.HasPrefix(i, root+"gen/") }) {
			continue
		}
		switch service(p.ImportPath) {
		case "millrace", "e2e":
			continue
		}
		for _, f := range importers(t, p) {
			if !slices.ContainsFunc(edges, func(e string) bool { return strings.HasPrefix(f, e) }) {
				t.Errorf("%s/%s touches generated types", p.ImportPath, f)
			}
		}
	}
}
