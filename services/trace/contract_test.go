package trace

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/telemetry"
)

// cells answers the cells of the tables of SPANS.md that have so many columns and a name in the first.
func cells(t *testing.T, columns int) [][]string {
	t.Helper()
	text, err := os.ReadFile("SPANS.md")
	require.NoError(t, err)
	var out [][]string
	for line := range strings.Lines(string(text)) {
		row := strings.Split(strings.TrimSpace(line), "|")
		if len(row) != columns+2 || !strings.HasPrefix(row[1], " `") {
			continue
		}
		for i := range row {
			row[i] = strings.Trim(row[i], " `")
		}
		out = append(out, row[1:columns+1])
	}
	return out
}

func TestTheContractNamesEveryAttribute(t *testing.T) {
	var named []string
	for _, row := range cells(t, 2) {
		named = append(named, row[0])
		require.NotEmpty(t, row[1], row[0])
	}
	require.Equal(t, telemetry.AllowedKeys(), named)
}

func TestTheContractNamesTheStageOfEverySpan(t *testing.T) {
	rows := cells(t, 7)
	require.Len(t, rows, 12)
	for _, row := range rows {
		require.Equal(t, row[3], stageOf(row[1], row[0]), "%s of %s", row[0], row[1])
	}
}
