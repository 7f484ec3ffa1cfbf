package trace

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// query is what a list request asks for.
type query struct {
	workspace   string
	size        int32
	token       string
	filter      string
	orderBy     string
	from, until time.Time
}

// columns answers the columns of the fields that a filter may name, and their values where they are known.
func columns(field string) (column string, values []string) {
	switch field {
	case "sync":
		return "sync_id", nil
	case "kind":
		return field, []string{kindBatch, kindRun, kindOther}
	case "state":
		return field, []string{stateOK, stateError}
	case "slowest_stage":
		return field, stages()
	}
	return field, nil
}

// list answers one page of traces, and the token of the next.
func (s *Service) list(ctx context.Context, q query) ([]summary, string, error) {
	filter, err := rpc.ParseFilter(q.filter, "sync", "feed", "run", "batch", "kind", "state", "slowest_stage")
	if err != nil {
		return nil, "", err //nolint:wrapcheck // classified by rpc
	}
	order, err := rpc.ParseOrderBy(q.orderBy, "start_time", "duration")
	if err != nil {
		return nil, "", err //nolint:wrapcheck // classified by rpc
	}
	page, err := rpc.NewPage(q.size, q.token, q.workspace, q.filter, q.orderBy, q.from.String(), q.until.String())
	if err != nil {
		return nil, "", err //nolint:wrapcheck // classified by rpc
	}
	c, err := conditionOf(q, filter, order, page.After)
	if err != nil {
		return nil, "", err
	}
	db, err := s.database()
	if err != nil {
		return nil, "", err
	}
	found, err := summaries(ctx, db, c.where+" ORDER BY "+c.by+" "+c.dir+", trace_id "+c.dir+" LIMIT "+strconv.Itoa(page.Size+1), c.args...)
	if err != nil {
		return nil, "", err
	}
	if len(found) <= page.Size {
		return found, "", nil
	}
	found = found[:page.Size]
	last := found[page.Size-1]
	value := last.Start
	if c.by == "duration_ns" {
		value = last.End - last.Start
	}
	return found, page.Next(strconv.FormatInt(value, 10) + " " + last.TraceID), nil
}

// condition is the part of a statement that selects and orders traces.
type condition struct {
	where   string
	args    []any
	by, dir string
}

func (c *condition) add(cond string, args ...any) {
	c.where, c.args = c.where+" AND "+cond, append(c.args, args...)
}

// conditionOf answers what a list request selects behind an entry; every fault of it at once.
func conditionOf(q query, filter rpc.Filter, order []rpc.Order, after string) (condition, error) {
	c := condition{where: "WHERE workspace = ?", args: []any{q.workspace}, by: "start_ns", dir: "DESC"}
	var vs []fault.Violation
	for _, t := range filter {
		column, values := columns(t.Field)
		if values != nil && !slices.Contains(values, t.Value) {
			vs = append(vs, fault.Violation{Field: "filter", Message: fmt.Sprintf("%s can not be %q", t.Field, t.Value), Fix: "it is one of " + strings.Join(values, ", ")})
		}
		c.add(column+" = ?", t.Value)
	}
	if !q.from.IsZero() && !q.until.IsZero() && !q.from.Before(q.until) {
		vs = append(vs, fault.Violation{Field: "until", Message: "is not after from", Fix: "traces are listed that start in [from, until)"})
	}
	if len(order) > 1 {
		vs = append(vs, fault.Violation{Field: "order_by", Message: "names more than one field", Fix: "name start_time or duration"})
	}
	if len(vs) > 0 {
		return c, invalid(vs...)
	}
	if !q.from.IsZero() {
		c.add("start_ns >= ?", q.from.UnixNano())
	}
	if !q.until.IsZero() {
		c.add("start_ns < ?", q.until.UnixNano())
	}
	cmp := "<"
	if len(order) > 0 {
		if order[0].Field == "duration" {
			c.by = "duration_ns"
		}
		if !order[0].Desc {
			c.dir, cmp = "ASC", ">"
		}
	}
	if after != "" {
		text, traceID, _ := strings.Cut(after, " ")
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return c, invalid(fault.Violation{Field: "page_token", Message: "is none that this service gave", Fix: "pass next_page_token of the page before as it is"})
		}
		c.add("("+c.by+" "+cmp+" ? OR "+c.by+" = ? AND trace_id "+cmp+" ?)", value, value, traceID)
	}
	return c, nil
}

// get answers a trace of a workspace with its spans by start.
func (s *Service) get(ctx context.Context, workspace, traceID string) (summary, []span, error) {
	db, err := s.database()
	if err != nil {
		return summary{}, nil, err
	}
	traceID = strings.ToLower(traceID)
	t, ok, err := loadSummary(ctx, db, traceID)
	if err != nil {
		return summary{}, nil, err
	}
	if !ok || t.Workspace != workspace {
		return summary{}, nil, fault.New(fault.NotFound, fault.ReasonNotFound,
			"there is no such trace in workspace %s: none of its spans has come, it has expired after %s, or no trace configuration wanted it", workspace, s.settings.Keep)
	}
	spans, err := loadSpans(ctx, db, traceID)
	return t, spans, err
}
