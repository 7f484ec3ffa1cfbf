package databricks

import (
	"context"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/source"
)

const versionWord = "version "

// version answers the newest version of a model's table, "" where the model is no table with versions: a query's text, a
// view, a table of another format, or one whose history the principal may not see.
func (x *session) version(ctx context.Context, m resource.DataModel) (string, error) {
	if m.Table == "" {
		return "", nil
	}
	n, err := x.newest(ctx, m.Table)
	switch {
	case err != nil && (fault.ClassOf(err) == fault.Invalid || fault.ClassOf(err) == fault.Denied || fault.ClassOf(err) == fault.Precondition):
		return "", nil
	case err != nil:
		return "", err
	case n < 0:
		return "", nil
	}
	return versionWord + strconv.FormatInt(n, 10), nil
}

// newest answers the newest version of a table, -1 where its history names none.
func (x *session) newest(ctx context.Context, table string) (int64, error) {
	rows, err := x.texts(ctx, "DESCRIBE HISTORY "+table+" LIMIT 1")
	if err != nil || len(rows) == 0 || len(rows[0]) == 0 {
		return -1, err
	}
	n, err := strconv.ParseInt(rows[0][0], 10, 64)
	if err != nil || n < 0 {
		return -1, malformed()
	}
	return n, nil
}

// under answers the text that reads sql's table in a snapshot.
func under(sql, snapshot string, m resource.DataModel) string {
	digits, ok := strings.CutPrefix(snapshot, versionWord)
	if n, err := strconv.ParseInt(digits, 10, 64); !ok || err != nil || n < 0 || m.Table == "" {
		return sql
	}
	return sql + " VERSION AS OF " + digits
}

// at looks at q's statement in its snapshot, or in the newest version where that is gone, and notes which it is.
func (s *Source) at(ctx context.Context, x *session, q source.Query) (*query, error) {
	sql, err := selectOf(q.Model)
	if err != nil {
		return nil, err
	}
	d, err := x.describe(ctx, under(sql, q.Snapshot, q.Model))
	if err == nil {
		s.readUnder(q.Snapshot)
		return d, nil
	}
	if q.Snapshot == "" || !fault.ClassOf(err).Permanent() || fault.ClassOf(err) == fault.Denied {
		return nil, err
	}
	newest, again := x.version(ctx, q.Model)
	if again != nil || newest == "" || newest == q.Snapshot {
		return nil, err
	}
	if d, again = x.describe(ctx, under(sql, newest, q.Model)); again != nil {
		return nil, err
	}
	s.readUnder(newest)
	return d, nil
}

// now answers the warehouse's clock.
func (x *session) now(ctx context.Context) (time.Time, error) {
	rows, err := x.texts(ctx, "SELECT unix_micros(current_timestamp()) AS at")
	if err != nil {
		return time.Time{}, err
	}
	if len(rows) == 1 && len(rows[0]) == 1 {
		if n, err := strconv.ParseInt(rows[0][0], 10, 64); err == nil {
			return time.UnixMicro(n).UTC(), nil
		}
	}
	return time.Time{}, malformed()
}
