package services_test

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// importers answers the files of p that import generated code.
func importers(t *testing.T, p listed) []string {
	t.Helper()
	dir := filepath.Join(".", strings.TrimPrefix(p.ImportPath, root+"services"))
	var names []string
	for _, f := range p.GoFiles {
		ast, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, f), nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, i := range ast.Imports {
			if strings.HasPrefix(strings.Trim(i.Path.Value, `"`), root+"gen/") {
				names = append(names, f)
				break
			}
		}
	}
	return names
}
