package config

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/rpc"
	"millrace.dev/pkg/sqldb"
)

// query is what a list request asks for.
type query struct {
	workspace id.Workspace
	kind      resource.Kind
	size      int32
	token     string
	filter    string
	orderBy   string
}

// labelField finds the labels that a filter names.
var labelField = regexp.MustCompile(`labels\.[A-Za-z0-9_./-]+`) //nolint:gochecknoglobals // never changes

const separator = "\x00" // between the order's value and the id in a page token; neither has it

// list answers one page of the resources of a kind, and the token of the next.
func (s *Service) list(ctx context.Context, q query) ([]resource.Resource, string, error) {
	fields := append([]string{"id", "display_name"}, labelField.FindAllString(q.filter, -1)...)
	filter, err := rpc.ParseFilter(q.filter, fields...)
	if err != nil {
		return nil, "", err //nolint:wrapcheck // classified by rpc
	}
	order, err := rpc.ParseOrderBy(q.orderBy, "id", "display_name", "create_time", "update_time")
	if err != nil {
		return nil, "", err //nolint:wrapcheck // classified by rpc
	}
	page, err := rpc.NewPage(q.size, q.token, string(q.workspace), string(q.kind), q.filter, q.orderBy)
	if err != nil {
		return nil, "", err //nolint:wrapcheck // classified by rpc
	}
	st := statement{postgres: s.db.Postgres()}
	st.where("r.workspace = ? AND r.kind = ?", string(q.workspace), string(q.kind))
	for _, t := range filter {
		st.term(t)
	}
	by := rpc.Order{Field: "id"}
	if len(order) > 0 {
		by = order[0]
	}
	if err := st.after(by, page.After); err != nil {
		return nil, "", err
	}
	return s.page(ctx, q.kind, st, by, page)
}

func (s *Service) page(ctx context.Context, kind resource.Kind, st statement, by rpc.Order, page rpc.Page) ([]resource.Resource, string, error) {
	var out []resource.Resource
	var marks []string
	text, args := st.text(by, page.Size+1)
	err := s.db.Query(ctx, func(row sqldb.Row) error {
		var body, mark string
		if err := row.Scan(&body, &mark); err != nil {
			return err //nolint:wrapcheck // classified by sqldb
		}
		r, err := decode(kind, body)
		if err != nil {
			return err
		}
		out, marks = append(out, r), append(marks, mark+separator+r.Head().ID)
		return nil
	}, text, args...)
	if err != nil {
		return nil, "", fmt.Errorf("list %ss: %w", kind, err)
	}
	next := ""
	if len(out) > page.Size {
		out, next = out[:page.Size], page.Next(marks[page.Size-1])
	}
	for _, r := range out {
		if sync, ok := r.(*resource.Sync); ok {
			if err := loadStatus(ctx, s.db, sync); err != nil && !isNotFound(err) {
				return nil, "", fmt.Errorf("read the status of sync %s: %w", sync.ID, err)
			}
		}
	}
	return out, next, nil
}

// statement is a SELECT of resources in the making.
type statement struct {
	postgres bool
	conds    []string
	args     []any
}

func (st *statement) where(cond string, args ...any) {
	st.conds = append(st.conds, cond)
	st.args = append(st.args, args...)
}

func (st *statement) term(t rpc.Term) {
	label, isLabel := strings.CutPrefix(t.Field, "labels.")
	if !isLabel {
		st.where("r."+t.Field+" = ?", t.Value)
		return
	}
	st.where(`EXISTS (SELECT 1 FROM config_labels l WHERE l.workspace = r.workspace AND l.kind = r.kind AND l.id = r.id
		AND l.label = ? AND l.value = ?)`, label, t.Value)
}

// column answers the column of an order, with the collation by which both databases agree.
func (st *statement) column(field string) string {
	if st.postgres && !isTime(field) {
		return "r." + field + ` COLLATE "C"`
	}
	return "r." + field
}

func isTime(field string) bool { return strings.HasSuffix(field, "_time") }

// after goes on behind the mark of the page before.
func (st *statement) after(by rpc.Order, mark string) error {
	if mark == "" {
		return nil
	}
	value, last, _ := strings.Cut(mark, separator)
	var bound any = value
	if isTime(by.Field) {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("read a page's mark: %w", err)
		}
		bound = n
	}
	op := ">"
	if by.Desc {
		op = "<"
	}
	c := st.column(by.Field)
	st.where(fmt.Sprintf("(%s %s ? OR (%s = ? AND %s > ?))", c, op, c, st.column("id")), bound, bound, last)
	return nil
}

func (st *statement) text(by rpc.Order, n int) (string, []any) {
	direction := ""
	if by.Desc {
		direction = " DESC"
	}
	return fmt.Sprintf("SELECT r.body, CAST(r.%s AS TEXT) FROM config_resources r WHERE %s ORDER BY %s%s, %s LIMIT %d",
		by.Field, strings.Join(st.conds, " AND "), st.column(by.Field), direction, st.column("id"), n), st.args
}
