package profile_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheTableOfStoriesNamesEachOfThem holds the README of the case files to what is there.
func TestTheTableOfStoriesNamesEachOfThem(t *testing.T) {
	text, err := os.ReadFile("testdata/README.md")
	require.NoError(t, err)
	var named []string
	for _, link := range regexp.MustCompile(`\[(\w+)\]\((\w+)\.txtar\)`).FindAllStringSubmatch(string(text), -1) {
		require.Equal(t, link[1], link[2])
		named = append(named, "testdata/"+link[2]+".txtar")
	}
	there, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	slices.Sort(named)
	require.Equal(t, there, slices.Compact(named))
}
