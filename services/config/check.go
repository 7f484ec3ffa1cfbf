package config

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// maxChecks bounds how many syncs are checked at once.
const maxChecks = 4

// checkAll checks snapshots against their warehouses, but for those with a part that is known to break a rule.
func (s *Service) checkAll(ctx context.Context, c change, active []resource.Snapshot, known []fault.Violation) ([]fault.Violation, []string, error) {
	bad := map[key]bool{}
	for k := range c.faulty {
		bad[k] = true
	}
	for _, v := range known {
		bad[key{resource.Kind(v.Kind), v.ID}] = true
	}
	found := make([][]fault.Violation, len(active))
	warned := make([][]string, len(active))
	var g errgroup.Group
	g.SetLimit(maxChecks)
	for i, snap := range active {
		if touches(bad, snap) {
			continue
		}
		g.Go(func() error {
			var err error
			found[i], warned[i], err = s.check(ctx, snap)
			if err == nil || !c.lenient {
				return err
			}
			if !fault.ClassOf(err).Permanent() {
				warned[i] = []string{fmt.Sprintf("Sync %s: not checked against its warehouse: %s", snap.Sync.ID, fault.As(err).Message)}
				return ctx.Err()
			}
			found[i] = asViolations(err, key{resource.KindConnection, snap.Connection.ID}, addressField(err))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err //nolint:wrapcheck // classified by check
	}
	var out []fault.Violation
	var warnings []string
	said := map[string]bool{}
	for i := range active {
		for _, v := range found[i] {
			if !said[v.String()] {
				out = append(out, v)
			}
			said[v.String()] = true
		}
		warnings = append(warnings, warned[i]...)
	}
	return out, warnings, nil
}

// addressField answers the field of a connection that an error of a driver is about, "" where it is about all of it.
func addressField(err error) string {
	switch fault.ReasonOf(err) {
	case fault.ReasonFileNotFound, fault.ReasonPathForbidden:
		return "duckdb.path"
	default:
		return ""
	}
}

// touches says whether a snapshot has a part among bad.
func touches(bad map[key]bool, s resource.Snapshot) bool {
	for _, k := range partsOf(s) {
		if bad[k] {
			return true
		}
	}
	return false
}

// partsOf answers the resources that a snapshot is made of, the sync first.
func partsOf(s resource.Snapshot) []key {
	out := []key{
		{resource.KindSync, s.Sync.ID}, {resource.KindDataModel, s.DataModel.ID},
		{resource.KindConnection, s.Connection.ID}, {resource.KindFeed, s.Feed.ID},
	}
	if s.Mapping != nil {
		out = append(out, key{resource.KindMapping, s.Mapping.ID})
	}
	return out
}

// check asks the warehouse for the query's columns and the mapper whether iterator, keys and mapping fit them. Faults of
// the query or the mapping are violations; a warehouse that cannot be asked is an error. Where there is none, rows whose
// keys or iterator deserve a look are counted, as warnings.
func (s *Service) check(ctx context.Context, snap resource.Snapshot) ([]fault.Violation, []string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.settings.CheckTimeout)
	defer cancel()
	model := key{resource.KindDataModel, snap.DataModel.ID}
	schema, err := s.peers.describe(ctx, snap.Connection, snap.DataModel)
	if isOfQuery(err) {
		return asViolations(err, model, "sql"), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	keys, err := s.peers.validateMapping(ctx, snap.Mapping, snap.DataModel, schema)
	if err == nil {
		return nil, s.probe(ctx, snap, keys), nil
	}
	if fault.ClassOf(err) != fault.Invalid {
		return nil, nil, err
	}
	owner := key{resource.KindSync, snap.Sync.ID}
	if snap.Mapping != nil {
		owner = key{resource.KindMapping, snap.Mapping.ID}
	}
	out := asViolations(err, owner, "mapping")
	for i, v := range out {
		if ofModel(v.Field) {
			out[i].Kind, out[i].ID = string(model.kind), model.id
		}
	}
	return out, nil, nil
}

// probe warns of rows whose keys or iterator are not as they should be. Rows are data: they stop nothing.
func (s *Service) probe(ctx context.Context, snap resource.Snapshot, keys []string) []string {
	n, err := s.peers.probe(ctx, snap.Connection, snap.DataModel, keys)
	if err != nil {
		return []string{fmt.Sprintf("Sync %s: keys not probed: %s", snap.Sync.ID, fault.As(err).Message)}
	}
	var out []string
	warn := func(rows int64, format string, args ...any) {
		if rows > 0 {
			out = append(out, fmt.Sprintf("Sync %s: %d ", snap.Sync.ID, rows)+fmt.Sprintf(format, args...))
		}
	}
	columns := strings.Join(keys, ", ")
	warn(n.nullKeys, "rows have a NULL among the key columns %s; such rows cannot be told apart", columns)
	warn(n.repeatedKeys, "key values of %s stand in more than one row; only the newest of such rows counts", columns)
	if !snap.DataModel.Iterator.ReadNulls {
		warn(n.nullIterator, "rows have a NULL in the iterator %s; they are counted and not read", snap.DataModel.Iterator.Column)
	}
	return out
}

// isOfQuery says whether an error is a fault of the data model's query, and not of the way to the warehouse.
func isOfQuery(err error) bool {
	switch fault.ReasonOf(err) {
	case fault.ReasonQueryInvalid, fault.ReasonIteratorInvalid, fault.ReasonKeyInvalid:
		return true
	default:
		return fault.ClassOf(err) == fault.Invalid
	}
}

// ofModel says whether a field that the mapper complains about is the data model's.
func ofModel(field string) bool {
	for _, prefix := range []string{"iterator", "key_columns", "record_kind", "group_type", "start_time", "columns", "sql", "table"} {
		if field == prefix || strings.HasPrefix(field, prefix+".") || strings.HasPrefix(field, prefix+"[") {
			return true
		}
	}
	return false
}

// asViolations answers the violations that an error carries, else the error as one. Those without a resource are k's.
func asViolations(err error, k key, field string) []fault.Violation {
	e := fault.As(err)
	out := append([]fault.Violation(nil), e.Violations...)
	if len(out) == 0 {
		what, fix, _ := strings.Cut(e.Message, "; ")
		if e.Field != "" {
			field = e.Field
		}
		out = []fault.Violation{{Field: field, Message: what, Fix: fix}}
	}
	for i := range out {
		if out[i].Kind == "" {
			out[i].Kind, out[i].ID = string(k.kind), k.id
		}
	}
	return out
}
