package sharing

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/fault"
)

// maxReaderVersion is the protocol's version that this client reads.
const maxReaderVersion = 1

// metadata is what a server says of a table.
type metadata struct {
	id         string
	provider   string
	partitions []string
	config     map[string]string
	fields     []deltaField
}

// readable refuses a table that this client does not read, by name and with what to do.
func (m *metadata) readable(t ref) error {
	switch {
	case m.provider != "parquet" && strings.Contains(strings.ToLower(m.provider), "view"):
		return viewFault(t.what())
	case m.provider != "parquet":
		return queryInvalid("%s is stored in a format other than parquet, which is not read; have the provider share a Delta table", t.what())
	case m.mapped():
		return queryInvalid("%s maps its columns to other names in its files; %s", t.what(), plainTable)
	}
	return nil
}

// mapped says whether files have other names for the table's columns.
func (m *metadata) mapped() bool {
	for _, f := range m.fields {
		if f.physical != "" && f.physical != f.name {
			return true
		}
	}
	return false
}

// field answers a column by its name, which may differ in case where no other is nearer.
func (m *metadata) field(name string) (deltaField, bool) {
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for _, f := range m.fields {
			if same(f.name, name) {
				return f, true
			}
		}
	}
	return deltaField{}, false
}

// listed is a file of a table's version, or of its changes.
type listed struct {
	id, url   string
	size      int64
	partition map[string]*string
	rows      int64 // -1: unknown
	stats     stats
	// Of changes.
	action  action
	version int64
}

// stats is what is known of one column of a file.
type stats struct {
	low, high string // as JSON writes them, without quotes; empty: unknown
	nulls     int64  // -1: unknown
}

// action is what a file of changes says of its rows.
type action string

const (
	added   action = "add"
	removed action = "remove"
	changes action = "cdf"
)

// listing is a table at one version, or its changes.
type listing struct {
	version int64
	stated  bool      // the server named the version
	at      time.Time // the server's clock
	meta    *metadata
	files   []*listed
	altered bool // of changes: the table was another one, or had other columns or no feed, for some of the time
}

// asked bounds a listing.
type asked struct {
	Version   *int64   `json:"version,omitempty"`
	Limit     int      `json:"limitHint,omitempty"`
	Hints     []string `json:"predicateHints,omitempty"`
	JSONHints string   `json:"jsonPredicateHints,omitempty"`
	MaxFiles  int      `json:"maxFiles,omitempty"`
	PageToken string   `json:"pageToken,omitempty"`
	// column is the table's own name of the column whose statistics are kept.
	column string
}

// path answers a table's address below the endpoint.
func (s *Source) path(t ref, verb string) []string {
	return []string{"shares", s.address.Share, "schemas", t.schema, "tables", t.table, verb}
}

// metadata asks for a table's columns. A table that is not there is QUERY_INVALID.
func (s *Source) metadata(ctx context.Context, t ref, label string) (*listing, error) {
	out := &listing{}
	_, err := s.page(ctx, request{what: t.what(), path: s.path(t, "metadata"), label: label}, "", out)
	if err == nil && out.meta == nil {
		err = malformed("the sharing server's answer for " + t.what())
	}
	return out, tableFault(err)
}

// tableFault tells a table that is not there as a fault of the query.
func tableFault(err error) error {
	if fault.ClassOf(err) == fault.NotFound && err != nil {
		return queryInvalid("%s", err.Error())
	}
	return err
}

// files lists the files of a table, at a version where a names one.
func (s *Source) files(ctx context.Context, t ref, label string, a asked) (*listing, error) {
	out := &listing{}
	a.MaxFiles = s.settings.PageFiles
	for range maxPages {
		next, err := s.page(ctx, request{what: t.what(), path: s.path(t, "query"), label: label, body: a}, a.column, out)
		if err != nil {
			return nil, tableFault(err)
		}
		if out.meta == nil {
			return nil, malformed("the sharing server's answer for " + t.what())
		}
		if a.PageToken = next; next == "" {
			return out, nil
		}
	}
	return nil, unavailable("the sharing server's list of the files of %s does not end", t.what())
}

// page asks for one page of a listing, adds it to out, and answers the token of the next one.
func (s *Source) page(ctx context.Context, r request, column string, out *listing) (string, error) {
	p := pageReader{s: s, what: r.what, column: column, feed: r.feed, out: out}
	err := s.call(ctx, r, func(h http.Header, body io.Reader) error {
		p.ends = strings.Contains(strings.ToLower(h.Get(capabilities)), "includeendstreamaction=true")
		if strings.Contains(strings.ToLower(h.Get(capabilities)), "responseformat=delta") {
			return queryInvalid("%s comes in the Delta form of the protocol, which is not read; %s", r.what, plainTable)
		}
		if v, err := strconv.ParseInt(h.Get(versionHeader), 10, 64); err == nil {
			if out.meta != nil && out.version != v {
				return changed("%s got version %d while its files were listed", r.what, v)
			}
			out.version, out.stated = v, true
		}
		out.at = time.Now()
		if at, err := http.ParseTime(h.Get("Date")); err == nil {
			out.at = at
		}
		return p.read(body)
	})
	return p.next, err
}

// pageReader reads the lines of one page.
type pageReader struct {
	s      *Source
	what   string
	column string
	feed   bool // of changes: other columns are noted, and no fault
	out    *listing
	ends   bool // the server says when a page is whole
	ended  bool
	next   string
}

// maxLine bounds a line of an answer.
const maxLine = 32 << 20

func (p *pageReader) read(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if err := lines.Err(); err != nil { // the line is not whole
			return fault.As(err)
		}
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			if err := p.line(line); err != nil {
				return err
			}
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return malformed("the sharing server's answer for " + p.what)
	case err != nil:
		return fault.As(err)
	case p.ends && !p.ended:
		return interrupted("the sharing server's answer for %s ends early; it is asked for again", p.what)
	}
	return nil
}

// fileLine is a file as lines have it.
type fileLine struct {
	URL             string             `json:"url"`
	ID              string             `json:"id"`
	PartitionValues map[string]*string `json:"partitionValues"`
	Size            int64              `json:"size"`
	Stats           string             `json:"stats"`
	Version         int64              `json:"version"`
	Delta           json.RawMessage    `json:"deltaSingleAction"`
	Vector          json.RawMessage    `json:"deletionVectorDescriptor"`
}

// line is what a line has: one of these.
type line struct {
	Protocol *struct {
		MinReaderVersion int             `json:"minReaderVersion"`
		Delta            json.RawMessage `json:"deltaProtocol"`
	} `json:"protocol"`
	MetaData *struct {
		ID     string `json:"id"`
		Format struct {
			Provider string `json:"provider"`
		} `json:"format"`
		SchemaString     string            `json:"schemaString"`
		PartitionColumns []string          `json:"partitionColumns"`
		Configuration    map[string]string `json:"configuration"`
		Delta            json.RawMessage   `json:"deltaMetadata"`
	} `json:"metaData"`
	File   *fileLine `json:"file"`
	Add    *fileLine `json:"add"`
	Remove *fileLine `json:"remove"`
	CDF    *fileLine `json:"cdf"`
	End    *struct {
		NextPageToken string `json:"nextPageToken"`
		Status        int    `json:"httpStatusErrorCode"`
		Message       string `json:"errorMessage"`
	} `json:"endStreamAction"`
}

func (p *pageReader) line(text []byte) error {
	var l line
	if json.Unmarshal(text, &l) != nil || p.ended {
		return malformed("the sharing server's answer for " + p.what)
	}
	switch {
	case l.Protocol != nil:
		return p.protocol(l)
	case l.MetaData != nil:
		return p.metadata(l)
	case l.File != nil:
		return p.file(l.File, "")
	case l.Add != nil:
		return p.file(l.Add, added)
	case l.Remove != nil:
		return p.file(l.Remove, removed)
	case l.CDF != nil:
		return p.file(l.CDF, changes)
	case l.End != nil:
		if l.End.Message != "" || l.End.Status != 0 {
			return interrupted("the sharing server breaks its answer for %s off (HTTP %d); it is asked for again", p.what, l.End.Status)
		}
		p.ended, p.next = true, l.End.NextPageToken
	}
	return nil // what is not known is never needed
}

func (p *pageReader) protocol(l line) error {
	switch {
	case l.Protocol.Delta != nil:
		return queryInvalid("%s comes in the Delta form of the protocol, which is not read; %s", p.what, plainTable)
	case l.Protocol.MinReaderVersion > maxReaderVersion:
		return queryInvalid("%s needs a client of version %d of the protocol, and this one is of version %d; %s", p.what, l.Protocol.MinReaderVersion, maxReaderVersion, plainTable)
	}
	return nil
}

func (p *pageReader) metadata(l line) error {
	in := l.MetaData
	var top deltaType
	if in.Delta != nil || json.Unmarshal([]byte(in.SchemaString), &top) != nil || top.name != "struct" {
		return malformed("the sharing server's answer for " + p.what)
	}
	now := &metadata{id: in.ID, provider: in.Format.Provider, partitions: in.PartitionColumns, config: in.Configuration, fields: top.fields}
	switch was := p.out.meta; {
	case was == nil:
	case p.feed:
		p.out.altered = p.out.altered || was.id != now.id || was.feeds() != now.feeds() || !sameFields(was.fields, now.fields)
		return nil
	case !sameFields(was.fields, now.fields):
		return changed("the columns of %s have changed", p.what)
	}
	p.out.meta = now
	return nil
}

// feeds says whether the server tells that the table's changes are kept.
func (m *metadata) feeds() bool {
	return m.config["enableChangeDataFeed"] == "true" || m.config["delta.enableChangeDataFeed"] == "true"
}

func sameFields(a, b []deltaField) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].name != b[i].name || a[i].typ.String() != b[i].typ.String() {
			return false
		}
	}
	return true
}

func (p *pageReader) file(in *fileLine, a action) error {
	switch {
	case in.Delta != nil:
		return queryInvalid("%s comes in the Delta form of the protocol, which is not read; %s", p.what, plainTable)
	case in.Vector != nil:
		return queryInvalid("%s has deletion vectors, which are not read; %s", p.what, plainTable)
	case in.URL == "" || in.ID == "" || in.Size <= 0:
		return malformed("the sharing server's answer for " + p.what)
	case len(p.out.files) >= p.s.settings.MaxFiles:
		return fault.New(fault.Precondition, fault.ReasonQueryInvalid, "%s has more than %d files; have it compacted with OPTIMIZE", p.what, p.s.settings.MaxFiles)
	}
	f := &listed{id: in.ID, url: in.URL, size: in.Size, partition: in.PartitionValues, action: a, version: in.Version, rows: -1, stats: stats{nulls: -1}}
	f.learn(in.Stats, p.column)
	p.out.files = append(p.out.files, f)
	return nil
}

// learn takes a column's statistics over. What is no statistics says nothing.
func (f *listed) learn(text, column string) {
	var in struct {
		NumRecords *int64                     `json:"numRecords"`
		MinValues  map[string]json.RawMessage `json:"minValues"`
		MaxValues  map[string]json.RawMessage `json:"maxValues"`
		NullCount  map[string]json.RawMessage `json:"nullCount"`
	}
	if text == "" || json.Unmarshal([]byte(text), &in) != nil || in.NumRecords == nil || *in.NumRecords < 0 {
		return
	}
	f.rows = *in.NumRecords
	if n, err := strconv.ParseInt(string(in.NullCount[column]), 10, 64); err == nil && n >= 0 && n <= f.rows {
		f.stats.nulls = n
	}
	f.stats.low, f.stats.high = scalar(in.MinValues[column]), scalar(in.MaxValues[column])
}

// scalar answers a JSON value without quotes, "" for none.
func scalar(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	if len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9') {
		return string(v)
	}
	return ""
}
