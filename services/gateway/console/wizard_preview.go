package console

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	mapperv1 "millrace.dev/gen/millrace/mapper/v1"
	"millrace.dev/pkg/fault"
)

const (
	previewText   = 200  // characters of a value in a record
	previewFields = 60   // of an object, and elements of a list
	previewLength = 8000 // characters of a record
)

// mapPreview is what a mapping makes of sample rows.
type mapPreview struct {
	Rows       []mappedRow
	Mapped     int // rows that become a record
	Violations []fault.Violation
	Failure    string // why nothing could be mapped
	Targets    []string
	wrong      wrongs
}

// Row says for a violation which rule it is about, from 1; 0 for the others.
func (mapPreview) Row(v fault.Violation) int {
	if n, ok := rowOf(v.Field); ok {
		return n + 1
	}
	return 0
}

// Number answers the number of a row of which there are i before it.
func (mapPreview) Number(i int) int { return i + 1 }

// mappedRow is a sample row and the record that it becomes, or why it becomes none.
type mappedRow struct {
	Row     string
	Record  string
	Rejects []*mapperv1.RejectReason
}

// previewMapping answers the preview of what is typed, for the place beside it.
func (c *Console) previewMapping(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	d, err := c.draft(r)
	if err != nil {
		return nil, err
	}
	sample, err := c.sample(r, d.Model, false)
	p := c.previewOf(r, r.readMapped(d), sample, err)
	return fragment{name: "wizard_map", block: "preview", data: p}, nil
}

// previewOf maps the rows of a sample, or tells why there is none. What is wrong is part of the answer.
func (c *Console) previewOf(r *request, m mapped, sample *configv1.PreviewDataModelResponse, failure error) mapPreview {
	out := mapPreview{Targets: targetsOf(m.model), wrong: wrongs{}}
	if failure != nil {
		out.Failure = "There are no sample rows: " + fault.As(fault.FromStatus(failure)).Message
		return out
	}
	if len(m.bad.out) > 0 {
		out.Violations = m.bad.out
		return out
	}
	res, err := c.mapper.PreviewMapping(r.Context(), &mapperv1.PreviewMappingRequest{Mapping: m.mapping, DataModel: m.model, Arrow: sample.GetArrow()})
	if err != nil {
		e := fault.As(fault.FromStatus(err))
		if out.Violations, out.wrong = e.Violations, wrongsOf(e, ""); len(e.Violations) == 0 {
			out.Failure = sentence(e.Message)
		}
		return out
	}
	for i, row := range res.GetRows() {
		shown := mappedRow{Rejects: row.GetRejects()}
		if i < len(sample.GetRows()) {
			shown.Row = recordText(sample.GetRows()[i])
		}
		if row.GetRecord() != nil {
			shown.Record = recordText(row.GetRecord())
			out.Mapped++
		}
		out.Rows = append(out.Rows, shown)
	}
	return out
}

// recordText answers a record as JSON that a person can read: long values, lists and objects are cut, and it is said.
func recordText(s *structpb.Struct) string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(shortened(s.AsMap())); err != nil {
		return "(can not be shown)"
	}
	return short(previewLength, strings.TrimSuffix(b.String(), "\n"))
}

func shortened(v any) any {
	switch v := v.(type) {
	case string:
		return short(previewText, v)
	case []any:
		out := make([]any, 0, min(len(v), previewFields))
		for i, e := range v {
			if i == previewFields {
				return append(out, "…")
			}
			out = append(out, shortened(e))
		}
		return out
	case map[string]any:
		out := make(map[string]any, min(len(v), previewFields))
		for _, name := range firstNames(v, previewFields) {
			out[short(previewText, name)] = shortened(v[name])
		}
		if len(v) > previewFields {
			out["…"] = "and more"
		}
		return out
	}
	return v
}

// firstNames answers the first n names of an object, in their order.
func firstNames(m map[string]any, n int) []string {
	names := slices.Sorted(maps.Keys(m))
	return names[:min(len(names), n)]
}
