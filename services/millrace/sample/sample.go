// Package sample makes the sample shop: a DuckDB warehouse of customers and of the history of their orders, and the
// documents that sync both.
//
// Equal options give equal rows. The customers' ids run from 1 to Options.Customers; the order history has exactly
// Options.Orders rows, each order with one to four versions.
package sample

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"millrace.dev/pkg/fault"
)

// Warehouse is the name of the database file.
const Warehouse = "shop.duckdb"

// The ids of what the documents hold.
const (
	Connection    = "shop"
	Feed          = "crm"
	CustomersSync = "customers"
	OrdersSync    = "orders"
)

// MaxRows is the largest number of rows of a table.
const MaxRows = 1_000_000_000

// Options say how much to make.
type Options struct {
	Customers int64
	Orders    int64 // rows of the order history
	Seed      int64
}

func (o Options) check() error {
	var bad []fault.Violation
	for _, f := range []struct {
		name string
		n    int64
	}{{"customers", o.Customers}, {"orders", o.Orders}} {
		if f.n < 1 || f.n > MaxRows {
			bad = append(bad, fault.Violation{Field: f.name, Message: fmt.Sprintf("%d is out of bounds", f.n), Fix: fmt.Sprintf("use 1 to %d", MaxRows)})
		}
	}
	return fault.Of(fault.ReasonInvalidArgument, bad) //nolint:wrapcheck // born here
}

//go:embed documents/*.yaml
var documents embed.FS

// Write makes the folder, the warehouse and the documents in it, and answers their paths, the warehouse first. Files of
// the same names are replaced, each as a whole. It needs a build with DuckDB (DRIVER_MISSING otherwise).
func Write(ctx context.Context, dir string, o Options) ([]string, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, unwritable(dir, err)
	}
	warehouse := filepath.Join(dir, Warehouse)
	if err := writeWarehouse(ctx, warehouse, o); err != nil {
		return nil, err
	}
	docs, err := writeDocuments(dir)
	return append([]string{warehouse}, docs...), err
}

func writeDocuments(dir string) ([]string, error) {
	entries, err := documents.ReadDir("documents")
	if err != nil {
		return nil, fmt.Errorf("read the documents of the sample: %w", err)
	}
	var done []string
	for _, e := range entries {
		data, err := documents.ReadFile("documents/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the documents of the sample: %w", err)
		}
		path := filepath.Join(dir, e.Name())
		if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // nothing in it is secret
			return nil, unwritable(path, err)
		}
		done = append(done, path)
	}
	return done, nil
}

// unwritable says why something under the folder could not be written.
func unwritable(path string, err error) error {
	text := err.Error()
	var pe *fs.PathError
	if errors.As(err, &pe) {
		text = pe.Err.Error()
	}
	return fault.New(fault.Precondition, fault.ReasonInvalidArgument, "%s cannot be written: %s; choose another folder", path, text)
}
