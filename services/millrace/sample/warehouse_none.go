//go:build !(cgo && duckdb_arrow)

package sample

import (
	"context"

	"millrace.dev/pkg/fault"
)

func writeWarehouse(context.Context, string, Options) error {
	return fault.New(fault.Precondition, fault.ReasonDriverMissing,
		"this build has no DuckDB to write the sample warehouse with; build with CGO_ENABLED=1 and -tags duckdb_arrow, as `make build` does")
}
