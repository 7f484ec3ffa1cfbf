//go:build cgo && duckdb_arrow

package snowflaketest

import (
	"context"
	"database/sql/driver"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

type queryRequest struct {
	SQLText      string         `json:"sqlText"`
	DescribeOnly bool           `json:"describeOnly"`
	Parameters   map[string]any `json:"parameters"`
	Bindings     map[string]struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"bindings"`
}

func (q queryRequest) tag() string {
	tag, _ := q.Parameters["QUERY_TAG"].(string)
	return tag
}

func (q queryRequest) binds() []string {
	var out []string
	for i := range q.Bindings {
		if b, ok := q.Bindings[strconv.Itoa(len(out)+1)]; ok && i != "" {
			out = append(out, b.Value)
		}
	}
	return out
}

// job is a statement.
type job struct {
	query  string
	cancel context.CancelFunc
	done   chan struct{}
	answer map[string]any // once done
}

func (s *Server) query(w http.ResponseWriter, r *http.Request, q queryRequest) {
	x := s.signedIn(w, r)
	if x == nil {
		return
	}
	id := r.URL.Query().Get("requestId")
	s.mu.Lock()
	j := s.running[id] // a request that is repeated is not run again
	if j == nil {
		ctx, cancel := context.WithCancel(s.life)
		j = &job{query: s.name("query"), cancel: cancel, done: make(chan struct{})}
		s.running[id], s.jobs[j.query] = j, j
		s.wg.Go(func() {
			defer cancel()
			defer close(j.done)
			j.answer = s.run(ctx, x, j, q)
		})
	}
	s.mu.Unlock()
	if s.options.Poll && !q.DescribeOnly {
		reply(w, map[string]any{"success": true, "code": "333333", "data": map[string]any{"queryId": j.query, "getResultUrl": "/queries/" + j.query + "/result"}})
		return
	}
	s.await(w, r, j)
}

func (s *Server) result(w http.ResponseWriter, r *http.Request) {
	if s.signedIn(w, r) == nil {
		return
	}
	id := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/queries/"), "/result")
	s.mu.Lock()
	j := s.jobs[id]
	s.mu.Unlock()
	if j == nil {
		http.NotFound(w, r)
		return
	}
	s.await(w, r, j)
}

func (s *Server) await(w http.ResponseWriter, r *http.Request, j *job) {
	select {
	case <-j.done:
		reply(w, j.answer)
	case <-r.Context().Done():
	}
}

func (s *Server) abort(w http.ResponseWriter, r *http.Request) {
	var in struct {
		RequestID string `json:"requestId"`
	}
	if err := readBody(r, &in); err != nil || s.signedIn(w, r) == nil {
		return
	}
	s.mu.Lock()
	j := s.running[in.RequestID]
	s.mu.Unlock()
	if j == nil {
		refuse(w, "000605", "57014", "Identified SQL statement is not currently executing.")
		return
	}
	j.cancel()
	<-j.done
	reply(w, map[string]any{"success": true})
}

// problem is an error as Snowflake numbers it.
type problem struct{ code, state, message string }

func (p *problem) Error() string { return p.message }

func failure(err error) map[string]any {
	var p *problem
	if !errors.As(err, &p) {
		p = &problem{"000603", "XX000", "SQL execution internal error"}
	}
	return map[string]any{"success": false, "code": p.code, "message": p.message, "data": map[string]any{"sqlState": p.state}}
}

// run runs a statement and answers what is said about it.
func (s *Server) run(ctx context.Context, x *session, j *job, q queryRequest) map[string]any {
	text, err := s.translate(x, q)
	if err != nil {
		return failure(err)
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return failure(err)
	}
	defer func() { _ = conn.Close() }()
	var out map[string]any
	_ = conn.Raw(func(raw any) error {
		out, err = s.runOn(ctx, raw.(*duckdb.Conn), j, q, text)
		return nil
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return failure(&problem{"000604", "57014", "SQL execution canceled"})
	case err != nil:
		return failure(numbered(err))
	}
	s.mu.Lock()
	change := s.rewrite
	s.mu.Unlock()
	if change != nil {
		change(q.SQLText, out)
	}
	return map[string]any{"success": true, "data": out}
}

func (s *Server) runOn(ctx context.Context, conn *duckdb.Conn, j *job, q queryRequest, text string) (map[string]any, error) {
	kind, err := kindOf(ctx, conn, text)
	if err != nil {
		return nil, err
	}
	data := map[string]any{"queryId": j.query, "queryResultFormat": "arrow", "statementTypeId": kind, "sqlState": "00000"}
	if kind != 0x1000 {
		if !q.DescribeOnly {
			return s.write(ctx, conn, q, text)
		}
		data["rowtype"] = []wireColumn{{Name: "number of rows", Type: "fixed", Precision: 38}}
		return data, nil
	}
	columns, err := s.columns(ctx, conn, text)
	if err != nil {
		return nil, err
	}
	data["rowtype"] = columns
	if q.DescribeOnly {
		return data, nil
	}
	if err := s.fill(ctx, conn, j, text, columns, data); err != nil {
		return nil, err
	}
	return data, nil
}

// kindOf answers Snowflake's number for the type of a statement.
func kindOf(ctx context.Context, conn *duckdb.Conn, text string) (int64, error) {
	prepared, err := conn.PrepareContext(ctx, text)
	if err != nil {
		return 0, err //nolint:wrapcheck // numbered by the caller
	}
	defer func() { _ = prepared.Close() }()
	stmt := prepared.(*duckdb.Stmt)
	if stmt.NumInput() > 0 {
		return 0, &problem{"002049", "42601", "SQL compilation error: error line 1 at position 7\nBind variable $1 not set."}
	}
	kind, err := stmt.StatementType()
	switch {
	case err != nil:
		return 0, err //nolint:wrapcheck // numbered by the caller
	case kind == duckdb.STATEMENT_TYPE_SELECT:
		return 0x1000, nil
	case kind == duckdb.STATEMENT_TYPE_INSERT, kind == duckdb.STATEMENT_TYPE_UPDATE, kind == duckdb.STATEMENT_TYPE_DELETE:
		return 0x3000, nil
	}
	return 0x6000, nil
}

var (
	duckLine   = regexp.MustCompile(`LINE (\d+):`)
	duckColumn = regexp.MustCompile(`column "?([^"!]+?)"? (?:not found|does not)|Referenced column "([^"]+)"`)
	duckTable  = regexp.MustCompile(`Table with name (\S+) does not exist`)
)

// numbered answers an error of DuckDB as Snowflake's.
func numbered(err error) error {
	var own *problem
	var e *duckdb.Error
	if errors.As(err, &own) {
		return own
	}
	if !errors.As(err, &e) {
		return &problem{"001003", "42000", "SQL compilation error:\nsyntax error line 1 at position 0 unexpected '<EOF>'."}
	}
	line := "1"
	if m := duckLine.FindStringSubmatch(e.Msg); m != nil {
		line = m[1]
	}
	at := fmt.Sprintf("SQL compilation error: error line %s at position 1\n", line)
	switch e.Type {
	case duckdb.ErrorTypeParser, duckdb.ErrorTypeSyntax:
		return &problem{"001003", "42000", "SQL compilation error:\nsyntax error line " + line + " at position 1 unexpected 'x'."}
	case duckdb.ErrorTypeBinder:
		if m := duckColumn.FindStringSubmatch(e.Msg); m != nil {
			return &problem{"000904", "42000", at + "invalid identifier '" + m[1] + m[2] + "'"}
		}
		return &problem{"002023", "22000", at + e.Msg}
	case duckdb.ErrorTypeCatalog:
		if m := duckTable.FindStringSubmatch(e.Msg); m != nil {
			return &problem{"002003", "42S02", "SQL compilation error:\nObject '" + strings.ToUpper(m[1]) + "' does not exist or not authorized."}
		}
		return &problem{"002140", "42601", at + "Unknown function"}
	case duckdb.ErrorTypeConversion:
		return &problem{"100038", "22018", "Numeric value 'secret' is not recognized"}
	case duckdb.ErrorTypeOutOfRange, duckdb.ErrorTypeDivideByZero, duckdb.ErrorTypeInvalidInput:
		return &problem{"100051", "22012", "Division by zero"}
	}
	return &problem{"002023", "42000", at + e.Msg}
}

// columns answers the columns of a SELECT.
func (s *Server) columns(ctx context.Context, conn *duckdb.Conn, text string) ([]wireColumn, error) {
	rows, err := conn.QueryContext(ctx, "DESCRIBE "+text, nil)
	if err != nil {
		return nil, err //nolint:wrapcheck // numbered by the caller
	}
	defer func() { _ = rows.Close() }()
	var out []wireColumn
	row := make([]driver.Value, len(rows.Columns()))
	for rows.Next(row) == nil {
		out = append(out, s.wireColumn(row[0].(string), row[1].(string)))
	}
	return out, nil
}

func (s *Server) chunk(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	file := s.chunks[strings.TrimPrefix(r.URL.Path, "/chunks/")]
	s.mu.Unlock()
	switch {
	case file == "":
		http.NotFound(w, r)
	case r.Header.Get("x-peer-customer-key") != qrmk || r.Header.Get("Authorization") != "":
		http.Error(w, "the headers of chunks, and no others", http.StatusForbidden)
	default:
		data, err := os.ReadFile(file) //nolint:gosec // a name of our own
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data) // the client may be gone
	}
}

const qrmk = "the key of results"

// inline answers the first chunk as it stands in an answer.
func inline(data []byte) string { return base64.StdEncoding.EncodeToString(data) }
