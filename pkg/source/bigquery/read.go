package bigquery

import (
	"context"
	"iter"
	"math/big"
	"strconv"

	"cloud.google.com/go/bigquery/storage/apiv1/storagepb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/cenkalti/backoff/v5"
	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/source"
	"millrace.dev/pkg/source/bigquery/googlesql"
	"millrace.dev/pkg/window"
)

// Describe answers the schema of q's rows; BigQuery looks at the query and reads nothing.
func (s *Source) Describe(ctx context.Context, q source.Query) (*arrow.Schema, error) {
	d, err := s.describe(ctx, q)
	if err != nil {
		return nil, err
	}
	return d.schema, nil
}

// Read answers the rows of q in the batches that BigQuery makes, in no order. A part of a plan is a stream of its result;
// anything else is a query of its own. No row comes before the query has ended.
func (s *Source) Read(ctx context.Context, q source.Query) iter.Seq2[arrow.RecordBatch, error] {
	return func(yield func(arrow.RecordBatch, error) bool) {
		if err := s.read(ctx, q, func(b arrow.RecordBatch) bool { return yield(b, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// read stops without an error when each answers false.
func (s *Source) read(ctx context.Context, q source.Query, each func(arrow.RecordBatch) bool) error {
	d, err := s.describe(ctx, q)
	if err != nil {
		return err
	}
	if q.Range.Unit != "" {
		snap, err := parseSnapshot(q.Snapshot)
		if err != nil {
			return err
		}
		name, err := snap.stream(q.Range.Unit)
		if err != nil || name == "" {
			return err
		}
		return s.streams(ctx, []string{name}, true, d, each)
	}
	where, params, err := d.slice(q)
	if err != nil || isEmpty(q.Range) {
		return err
	}
	got, err := s.run(ctx, request{sql: d.text(where, q.Limit), params: params, label: q.Label, shift: 1})
	if err != nil {
		return err
	}
	n := s.settings.Streams
	if q.Limit > 0 {
		n = 1
	}
	session, err := s.session(ctx, got.table, n)
	if err != nil {
		return err
	}
	return s.streams(ctx, names(session), false, d, each)
}

// isEmpty says whether no value can be in a range.
func isEmpty(r source.Range) bool { return r.Low != "" && r.Low == r.High && !r.HighClosed }

// selection is which columns and rows of a table are read: all where empty.
type selection struct {
	fields []string // in the table's order
	where  string
}

// session opens a read session over a result, in at most n streams of about the same size.
func (s *Source) session(ctx context.Context, t *bq.TableReference, n int) (*storagepb.ReadSession, error) {
	out, err := s.sessionOf(ctx, t, selection{}, n)
	return out, streamFault(ctx, err, false)
}

// sessionOf opens a read session over what is selected of a table. The error is Google's own.
func (s *Source) sessionOf(ctx context.Context, t *bq.TableReference, of selection, n int) (*storagepb.ReadSession, error) {
	req := &storagepb.CreateReadSessionRequest{
		Parent: "projects/" + s.address.ProjectID,
		ReadSession: &storagepb.ReadSession{
			Table:      "projects/" + t.ProjectId + "/datasets/" + t.DatasetId + "/tables/" + t.TableId,
			DataFormat: storagepb.DataFormat_ARROW,
			ReadOptions: &storagepb.ReadSession_TableReadOptions{
				SelectedFields: of.fields, RowRestriction: of.where,
				OutputFormatSerializationOptions: &storagepb.ReadSession_TableReadOptions_ArrowSerializationOptions{
					ArrowSerializationOptions: &storagepb.ArrowSerializationOptions{BufferCompression: storagepb.ArrowSerializationOptions_LZ4_FRAME},
				},
			},
		},
		MaxStreamCount: int32(n), PreferredMinStreamCount: int32(n), //nolint:gosec // few
	}
	renewed := false
	out, err := backoff.Retry(ctx, func() (*storagepb.ReadSession, error) {
		ctx, cancel := context.WithTimeout(ctx, s.settings.RequestTimeout)
		defer cancel()
		out, err := s.client.storage.CreateReadSession(ctx, req)
		switch {
		case err == nil:
			return out, nil
		case status.Code(err) == codes.Unauthenticated && !renewed:
			renewed = true
			s.client.tokens.renew()
		case !resumable(err):
			return nil, backoff.Permanent(err) //nolint:wrapcheck // classified below
		}
		return nil, err //nolint:wrapcheck // classified below
	}, backoff.WithBackOff(s.client.waits()), backoff.WithMaxTries(uint(s.settings.Tries)), backoff.WithMaxElapsedTime(0)) //nolint:gosec // a few
	return out, unwrapPermanent(err) //nolint:wrapcheck // classified by the caller
}

func names(r *storagepb.ReadSession) []string {
	var out []string
	for _, st := range r.GetStreams() {
		out = append(out, st.GetName())
	}
	return out
}

// slice answers the condition of q's range, with its parameters.
func (q *query) slice(of source.Query) (string, []*bq.QueryParameter, error) {
	if of.Range.IsAll() {
		return "", nil, nil
	}
	a, err := window.NewAxis(of.Model.Iterator, q.schema)
	if err != nil {
		return "", nil, err //nolint:wrapcheck // classified by window
	}
	where, params, err := q.within(a, of.Range)
	if where != "" {
		where = " WHERE " + where
	}
	return where, params, err
}

// within answers the condition of a range on the iterator. Its ends are parameters.
func (q *query) within(a window.Axis, r source.Range) (string, []*bq.QueryParameter, error) {
	name := googlesql.Quote(a.Column)
	if r.Nulls {
		return name + " IS NULL", nil, nil
	}
	high := "<"
	if r.HighClosed {
		high = "<="
	}
	where := ""
	var params []*bq.QueryParameter
	for _, end := range []struct{ value, operator, name string }{{r.Low, ">=", "millrace_low"}, {r.High, high, "millrace_high"}} {
		if end.value == "" {
			continue
		}
		v, err := a.Parse(end.value)
		if err != nil {
			return "", nil, err //nolint:wrapcheck // classified by window
		}
		if where != "" {
			where += " AND "
		}
		where += name + " " + end.operator + " @" + end.name
		params = append(params, q.bound(a, v, end.name))
	}
	return where, params, nil
}

// The ends of what BigQuery's dates and instants can be.
const (
	firstDay     = "0001-01-01"
	lastDay      = "9999-12-31"
	firstInstant = firstDay + "T00:00:00"
	lastInstant  = lastDay + "T23:59:59.999999"
)

// bound answers v as a parameter of the iterator's own type. Instants beyond BigQuery's are moved to its ends.
func (q *query) bound(a window.Axis, v window.Value, name string) *bq.QueryParameter {
	c := q.columns[a.Index]
	typ, text := c.own, v.String()
	switch t := c.typ.(type) {
	case *arrow.Int64Type:
		if n, ok := new(big.Int).SetString(text, 10); !ok || !n.IsInt64() {
			typ = "BIGNUMERIC"
		}
	case *arrow.Decimal128Type:
		if typ = "NUMERIC"; !isNumeric(v) {
			typ = "BIGNUMERIC"
		}
	case *arrow.Date32Type:
		text = clamp(text, firstDay, lastDay)
	case *arrow.TimestampType:
		zone := ""
		if t.TimeZone != "" {
			zone = "Z"
		}
		text = clamp(text, firstInstant+zone, lastInstant+zone)
	}
	return &bq.QueryParameter{Name: name, ParameterType: &bq.QueryParameterType{Type: typ}, ParameterValue: &bq.QueryParameterValue{Value: text}}
}

// clamp answers the text of an instant or day, or an end where its year has a sign.
func clamp(text, first, last string) string {
	switch {
	case text[0] == '-' || text[:4] == "0000":
		return first
	case text[0] == '+':
		return last
	}
	return text
}

// isNumeric says whether a number is one of NUMERIC: 29 digits before the point and 9 behind it.
func isNumeric(v window.Value) bool {
	const digits, scale = 29, 9
	n, s := v.Digits()
	whole := len(n.Abs(n).String()) - int(s)
	return s <= scale && whole <= digits
}

func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Unavailable, fault.ReasonWarehouseUnavailable, "BigQuery answered no number where there must be one; try again")
	}
	return n, nil
}
