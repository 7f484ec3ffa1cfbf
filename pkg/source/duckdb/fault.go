//go:build cgo && duckdb_arrow

package duckdb

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"millrace.dev/pkg/fault"
)

// The engine names a fault's kind at the head of its text, and nowhere else for statements that were never run.
const (
	kindInterrupt = "INTERRUPT"
	kindIO        = "IO"
	kindMemory    = "Out of Memory"
)

// fault classifies what the engine says of a statement; the end of ctx comes first, for it interrupts.
func (c *conn) fault(ctx context.Context, text string) error {
	if err := ctx.Err(); err != nil {
		return fault.As(err)
	}
	return queryFault(text)
}

// queryFault classifies the engine's text about a query and takes the query's literals and values out of it.
func queryFault(text string) error {
	kind, rest := split(text)
	what, line := plain(rest)
	at := ""
	if line > 0 {
		at = "line " + strconv.Itoa(line) + ": "
	}
	switch kind {
	case kindInterrupt:
		return fault.New(fault.Cancelled, fault.ReasonCancelled, "the query was interrupted")
	case "Parser", "Binder", "Catalog", "Not implemented":
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%s%s", at, what)
	case "Permission":
		return fault.New(fault.Invalid, fault.ReasonQueryInvalid, "%sthe query reads what this connection does not give: only its own path can be read, and nothing is fetched", at)
	case kindIO:
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "a file of the source cannot be read; try again once it is whole")
	case kindMemory:
		return fault.New(fault.Unavailable, fault.ReasonQueryInterrupted, "DuckDB's memory limit does not do for the query; raise the extractor's setting duckdb_memory, or make the query smaller")
	case "Conversion", "Invalid Input", "Out of Range", "Cast", "Mismatch Type", "Decimal", "Divide by Zero", "Sequence":
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%sthe query fails on a row: %s; mend the row, or use TRY_CAST", at, strings.TrimRight(value.ReplaceAllString(what, "…"), ".!"))
	case "FATAL", "INTERNAL":
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "DuckDB failed inside; try again")
	}
	return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%s%s", at, what)
}

// split answers the kind of a fault and the engine's text behind it; some come as JSON.
func split(text string) (kind, rest string) {
	var doc struct {
		Kind string `json:"exception_type"`
		Text string `json:"exception_message"`
	}
	if json.Unmarshal([]byte(text), &doc) == nil && doc.Kind != "" {
		return doc.Kind, doc.Text
	}
	if kind, rest, ok := strings.Cut(text, " Error: "); ok {
		return kind, rest
	}
	return "", text
}

// openFault classifies what the engine says when it does not open a file.
func openFault(text string) error {
	switch {
	case strings.Contains(text, "Could not set lock"), strings.Contains(text, "Conflicting lock"):
		return fault.New(fault.Unavailable, fault.ReasonWarehouseLocked, "another process has the database file open for writing; it is read once that process closes it")
	case strings.Contains(text, "different configuration"), strings.Contains(text, "already attached"), strings.Contains(text, "already open"):
		return fault.New(fault.Unavailable, fault.ReasonWarehouseLocked, "this process has the database file open for something else; it is read once that is closed")
	case strings.Contains(text, "not a valid DuckDB database file"):
		return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the file is no DuckDB database, and by its name no Parquet, CSV or JSON file")
	case strings.Contains(text, "version number"):
		return fault.New(fault.Precondition, fault.ReasonWarehouseUnavailable, "the database file was written by another version of DuckDB; export it and import it again with DuckDB 1.5 or older")
	case strings.Contains(text, "Permission denied"):
		return fault.New(fault.Denied, fault.ReasonWarehouseDenied, "this process may not read the file; give its user the right to")
	}
	what, _ := plain(text)
	return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "DuckDB does not open the file: %s", what)
}

//nolint:gochecknoglobals // compiled once, never changed
var (
	excerpt = regexp.MustCompile(`(?s)\n+LINE (\d+):.*`)
	value   = regexp.MustCompile(`"[^"]*"`)
	literal = regexp.MustCompile(`'(?:[^']|'')*'|\$(\w*)\$`)
)

// plain answers the first lines of the engine's text without its excerpt of the query and without literals, and the line
// that it points to in the model's own text (0 where it points to none).
func plain(text string) (string, int) {
	line := 0
	if m := excerpt.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = excerpt.ReplaceAllString(text, "")
	}
	text = literal.ReplaceAllString(text, "'…'")
	return strings.Join(strings.Fields(text), " "), line
}
