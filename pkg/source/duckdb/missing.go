//go:build !cgo || !duckdb_arrow

package duckdb

import (
	"context"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

// Open answers Precondition DRIVER_MISSING.
func (*Driver) Open(context.Context, resource.Connection) (source.Source, error) {
	return nil, fault.New(fault.Precondition, fault.ReasonDriverMissing, "this build lacks the duckdb driver; build with CGO_ENABLED=1 and -tags duckdb_arrow")
}

// engines are none in this build.
type engines struct{}

// states are none in this build.
type states struct{}
