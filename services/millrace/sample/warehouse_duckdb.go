//go:build cgo && duckdb_arrow

package sample

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"millrace.dev/pkg/fault"
)

// warehouseSQL makes the tables, with {customers}, {orders} and {seed} for the options.
//
//go:embed warehouse.sql
var warehouseSQL string

// writeWarehouse makes the database beside its place and then moves it there.
func writeWarehouse(ctx context.Context, path string, o Options) error {
	temp := path + ".new"
	for _, name := range []string{temp, temp + ".wal"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return unwritable(name, err)
		}
	}
	if err := fill(ctx, temp, o); err != nil {
		_ = os.Remove(temp) // what failed is answered
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return unwritable(path, err)
	}
	return nil
}

func fill(ctx context.Context, path string, o Options) (err error) {
	connector, err := duckdb.NewConnector(path, nil)
	if err != nil {
		return fault.New(fault.Precondition, fault.ReasonInvalidArgument, "%s cannot be made: %w; choose another folder", path, err)
	}
	db := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, db.Close()) }() // the last bytes are written by Close
	text := strings.NewReplacer(
		"{customers}", strconv.FormatInt(o.Customers, 10),
		"{orders}", strconv.FormatInt(o.Orders, 10),
		"{seed}", strconv.FormatInt(o.Seed, 10),
	).Replace(warehouseSQL)
	if _, err := db.ExecContext(ctx, text); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("write the sample warehouse: %w", ctx.Err())
		}
		return fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "the sample warehouse %s cannot be written: %w; see that the disk has room", path, err)
	}
	return nil
}
