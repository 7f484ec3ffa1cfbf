package console

import (
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

const (
	sampleRows   = 10
	sampleFor    = 15 * time.Minute
	maxSamples   = 32
	maxSampleMem = 32 << 20 // bytes of all that are kept
)

// samples keeps the sample rows of queries for a while, so that a mapping can be tried at every key without asking the
// warehouse. What is lost is asked for again. Safe for concurrent use.
type samples struct {
	mu    sync.Mutex
	kept  map[string]keptSample
	bytes int
}

type keptSample struct {
	answer *configv1.PreviewDataModelResponse // read-only
	at     time.Time
	bytes  int
}

func newSamples() *samples { return &samples{kept: map[string]keptSample{}} }

// sampleKey tells samples apart: a change of the query or of its connection is another sample.
func sampleKey(workspace string, m *configv1.DataModel) string {
	return strconv.Quote(workspace) + strconv.Quote(m.GetConnection()) + strconv.Quote(m.GetTable()) + m.GetSql()
}

func (s *samples) get(key string, now time.Time) *configv1.PreviewDataModelResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.kept[key]
	if !ok || now.Sub(k.at) > sampleFor {
		return nil
	}
	return k.answer
}

// put keeps an answer in place of older ones, the oldest of which go.
func (s *samples) put(key string, answer *configv1.PreviewDataModelResponse, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(key)
	size := proto.Size(answer)
	for len(s.kept) > 0 && (len(s.kept) >= maxSamples || s.bytes+size > maxSampleMem) {
		s.drop(s.oldest())
	}
	if size <= maxSampleMem {
		s.kept[key] = keptSample{answer: answer, at: now, bytes: size}
		s.bytes += size
	}
}

func (s *samples) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(key)
}

func (s *samples) drop(key string) {
	s.bytes -= s.kept[key].bytes
	delete(s.kept, key)
}

func (s *samples) oldest() string {
	var out string
	var at time.Time
	for key, k := range s.kept {
		if out == "" || k.at.Before(at) {
			out, at = key, k.at
		}
	}
	return out
}

// sample answers sample rows of a stored data model; anew asks the warehouse whatever is kept.
func (c *Console) sample(r *request, m *configv1.DataModel, anew bool) (*configv1.PreviewDataModelResponse, error) {
	key := sampleKey(r.workspace, m)
	if kept := c.samples.get(key, time.Now()); kept != nil && !anew {
		return kept, nil
	}
	res, err := c.config.PreviewDataModel(r.Context(), &configv1.PreviewDataModelRequest{Workspace: r.workspace, Id: m.GetMeta().GetId(), Limit: sampleRows, WithArrow: true})
	if err != nil {
		c.samples.forget(key)
		return nil, err //nolint:wrapcheck // classified
	}
	c.samples.put(key, res, time.Now())
	return res, nil
}

const (
	sampleColumns    = 40 // that a table of sample rows shows
	sampleCellLength = 120
)

// sampleTable are sample rows as a page shows them, bounded in width.
type sampleTable struct {
	Columns []*configv1.Column
	More    int // columns that are not shown
	Rows    [][]sampleCell
	Scans   string // what a read of all rows would scan, where the warehouse estimates it
}

// sampleCell is a value of a row in short.
type sampleCell struct {
	Text string
	Null bool
	Cut  int // characters of the whole value, where only its beginning is shown
}

func sampleTableOf(res *configv1.PreviewDataModelResponse) sampleTable {
	t := sampleTable{More: max(0, len(res.GetColumns())-sampleColumns)}
	t.Columns = res.GetColumns()[:len(res.GetColumns())-t.More]
	if res.EstimatedBytesScanned != nil {
		t.Scans = byteSize(res.GetEstimatedBytesScanned())
	}
	for _, row := range res.GetRows() {
		cells := make([]sampleCell, len(t.Columns))
		for i, col := range t.Columns {
			cells[i] = sampleCellOf(row.GetFields()[col.GetName()])
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func sampleCellOf(v *structpb.Value) sampleCell {
	if _, null := v.GetKind().(*structpb.Value_NullValue); null || v == nil {
		return sampleCell{Null: true}
	}
	all := valueText(v)
	out := sampleCell{Text: short(sampleCellLength, all)}
	if len(out.Text) < len(all) {
		out.Cut = len([]rune(all))
	}
	return out
}
