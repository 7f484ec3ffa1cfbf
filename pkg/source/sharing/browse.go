package sharing

import (
	"context"
	"iter"
	"regexp"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/sqltext"
)

// Tables lists the tables of the share whose name, with or without its schema, starts with prefix. A table that cannot be
// read is listed without columns.
func (s *Source) Tables(ctx context.Context, prefix string) iter.Seq2[source.Table, error] {
	return func(yield func(source.Table, error) bool) {
		err := s.tables(ctx, prefix, func(t source.Table) bool { return yield(t, nil) })
		if err != nil {
			yield(source.Table{}, err)
		}
	}
}

// tables stops without an error when each answers false.
func (s *Source) tables(ctx context.Context, prefix string, each func(source.Table) bool) error {
	var failed error
	err := s.list(ctx, request{what: "share " + sqltext.Quote(s.address.Share), path: []string{"shares", s.address.Share, "all-tables"}}, func(it item) bool {
		if !strings.HasPrefix(it.Name, prefix) && !strings.HasPrefix(it.Schema+"."+it.Name, prefix) {
			return true
		}
		var t source.Table
		if t, failed = s.table(ctx, it); failed != nil {
			return false
		}
		return each(t)
	})
	if failed != nil {
		return failed
	}
	return err
}

func (s *Source) table(ctx context.Context, it item) (source.Table, error) {
	t := source.Table{Name: nameOf(it.Name)}
	if !strings.EqualFold(it.Schema, s.address.Schema) {
		t.Name = nameOf(it.Schema) + "." + t.Name
	}
	l, err := s.metadata(ctx, ref{it.Schema, it.Name}, "")
	if err != nil {
		if fault.ReasonOf(err) == fault.ReasonQueryInvalid {
			err = nil // it is there, but not for this client
		}
		return t, err
	}
	for _, f := range l.meta.fields {
		t.Columns = append(t.Columns, source.Column{Name: f.name, Type: f.typ.String(), Nullable: f.nullable})
	}
	return t, nil
}

var bareName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`) //nolint:gochecknoglobals // compiled once, never changed

// nameOf answers a name as models write it: in quotes where it needs them.
func nameOf(name string) string {
	if bareName.MatchString(name) {
		return name
	}
	return sqltext.Quote(name)
}
