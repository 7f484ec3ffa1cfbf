package console

import (
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
)

// traceFilter is what the list of traces is narrowed by, as it was typed.
type traceFilter struct {
	Sync, Run, Kind, State, Stage, From, Until, Order string
}

// traceFilterOf reads the filter of a request. Without a kind it is of batches.
func traceFilterOf(r *request) traceFilter {
	f := traceFilter{
		Sync: strings.TrimSpace(r.FormValue("sync")), Run: strings.TrimSpace(r.FormValue("run")), Kind: r.FormValue("kind"),
		State: r.FormValue("state"), Stage: r.FormValue("stage"), From: r.FormValue("from"), Until: r.FormValue("until"), Order: r.FormValue("order"),
	}
	if f.Kind == "" {
		f.Kind = "batch"
	}
	return f
}

type namedValue struct{ name, value string }

// values answers the filter by the names of its form.
func (f traceFilter) values() []namedValue {
	return []namedValue{
		{"sync", f.Sync}, {"run", f.Run}, {"kind", f.Kind}, {"state", f.State}, {"stage", f.Stage}, {"from", f.From}, {"until", f.Until}, {"order", f.Order},
	}
}

// request answers what the trace service is asked for. Invalid where an instant can not be read.
func (f traceFilter) request() (*tracev1.ListTracesRequest, error) {
	var vs []fault.Violation
	req := &tracev1.ListTracesRequest{Filter: f.terms()}
	req.From, vs = traceInstant("from", f.From, vs)
	req.Until, vs = traceInstant("until", f.Until, vs)
	switch f.Order {
	case "oldest":
		req.OrderBy = "start_time"
	case orderSlowest:
		req.OrderBy = "duration desc"
	}
	if len(vs) > 0 {
		return nil, fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born classified
	}
	return req, nil
}

// terms answers the filter in the words of the API.
func (f traceFilter) terms() string {
	kind := f.Kind
	if kind == "any" {
		kind = ""
	}
	var terms []string
	for _, t := range []namedValue{{"sync", f.Sync}, {"run", f.Run}, {"kind", kind}, {"state", f.State}, {"slowest_stage", f.Stage}} {
		if t.value != "" {
			terms = append(terms, t.name+"="+strconv.Quote(t.value))
		}
	}
	return strings.Join(terms, " AND ")
}

// traceInstant reads an instant as a field of a form has it, in UTC, or by RFC 3339; nil where the field is empty. What
// can not be read is added to vs.
func traceInstant(field, text string, vs []fault.Violation) (*timestamppb.Timestamp, []fault.Violation) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, vs
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateTime, time.DateOnly, time.RFC3339Nano} {
		if t, err := time.Parse(layout, text); err == nil {
			return timestamppb.New(t), vs
		}
	}
	return nil, append(vs, fault.Violation{Field: field, Message: "is no instant", Fix: "write 2006-01-02T15:04, in UTC, or by RFC 3339"})
}
