//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	bq "google.golang.org/api/bigquery/v2"

	"millrace.dev/pkg/source/bigquery/googlesql"
)

// job is a query that was inserted.
type job struct {
	config *bq.JobConfiguration
	ref    *bq.JobReference
	table  string
	fields []*bq.TableFieldSchema
	made   *creation // what a statement makes; nil: its result is kept
	start  time.Time
	read   int64 // bytes that it goes through
	cancel context.CancelFunc
	done   chan struct{}

	// Set before done is closed.
	rows int64
	err  *refusal
}

func (s *Server) insertJob(w http.ResponseWriter, r *http.Request) error {
	var in bq.Job
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Configuration == nil || in.Configuration.Query == nil {
		return &refusal{http.StatusBadRequest, "invalid", "Invalid JSON payload received."}
	}
	c := in.Configuration
	call := Call{Method: "jobs.insert", SQL: c.Query.Query, Labels: c.Labels, Dry: c.DryRun}
	if in.JobReference != nil {
		call.Job = in.JobReference.JobId
	}
	s.note(call)
	if c.Query.UseLegacySql == nil || *c.Query.UseLegacySql {
		return bad("Legacy SQL is not spoken here")
	}
	for k, v := range c.Labels {
		if !labelText.MatchString(k) || !labelText.MatchString(v) {
			return &refusal{http.StatusBadRequest, "invalid", "Invalid label"}
		}
	}
	stats, translated, err := s.look(r.Context(), c.Query)
	if err != nil {
		return err
	}
	if c.DryRun {
		answer(w, &bq.Job{Configuration: c, Status: &bq.JobStatus{State: "DONE"}, Statistics: &bq.JobStatistics{TotalBytesProcessed: stats.TotalBytesProcessed, Query: stats}})
		return nil
	}
	made, err := creationOf(c.Query.Query)
	switch {
	case err != nil:
		return err
	case stats.StatementType != "SELECT" && made == nil:
		return bad("The peer runs SELECT and CREATE TABLE AS SELECT alone")
	case len(stats.UndeclaredQueryParameters) > 0:
		return bad("Query parameter '" + stats.UndeclaredQueryParameters[0].Name + "' not found")
	case in.JobReference == nil || in.JobReference.JobId == "":
		return &refusal{http.StatusBadRequest, "invalid", "A job needs an id"}
	}
	s.mu.Lock()
	start := s.now()
	s.mu.Unlock()
	j := &job{config: c, ref: in.JobReference, fields: stats.Schema.Fields, start: start, done: make(chan struct{}), table: "anon" + strconv.Itoa(s.next()), made: made, read: stats.TotalBytesProcessed}
	j.ref.Location = location
	if most := c.Query.MaximumBytesBilled; most > 0 && stats.TotalBytesProcessed > most {
		return &refusal{http.StatusBadRequest, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed"}
	}
	if err := s.begin(j, translated); err != nil { //nolint:contextcheck // a job outlives its call
		return err
	}
	answer(w, j.message())
	return nil
}

var labelText = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`) //nolint:gochecknoglobals // compiled once

// begin runs a job beside the caller. An id is taken once.
func (s *Server) begin(j *job, translated string) error {
	ctx, cancel := context.WithCancel(s.life)
	j.cancel = cancel
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[j.ref.JobId] != nil {
		cancel()
		return &refusal{http.StatusConflict, "duplicate", "Already Exists: Job " + j.ref.JobId}
	}
	s.jobs[j.ref.JobId] = j
	s.running.Go(func() {
		defer cancel()
		defer close(j.done)
		var err error
		if j.made != nil {
			err = s.make(ctx, *j.made, translated)
		} else {
			j.rows, err = s.run(ctx, j.table, translated)
		}
		switch {
		case err != nil && ctx.Err() != nil:
			j.err = &refusal{http.StatusBadRequest, "stopped", "Job execution was cancelled: User requested cancellation"}
		case err != nil:
			j.err = &refusal{http.StatusBadRequest, "invalidQuery", err.Error()} // with the row's value, as BigQuery has it
		}
	})
	return nil
}

// run keeps the rows of a query in a hidden table.
func (s *Server) run(ctx context.Context, table, translated string) (int64, error) {
	c, err := s.db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer c.Close() //nolint:errcheck // it goes back to the pool
	if _, err := c.ExecContext(ctx, searchPath); err != nil {
		return 0, err
	}
	if _, err := c.ExecContext(ctx, "CREATE TABLE "+hidden+"."+table+" AS "+translated); err != nil {
		return 0, err
	}
	var rows int64
	err = c.QueryRowContext(ctx, "SELECT count(*) FROM "+hidden+"."+table).Scan(&rows)
	return rows, err
}

func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

func (j *job) message() *bq.Job {
	c := *j.config
	q := *c.Query
	q.DestinationTable = &bq.TableReference{ProjectId: Project, DatasetId: hidden, TableId: j.table}
	if j.made != nil {
		q.DestinationTable = &bq.TableReference{ProjectId: Project, DatasetId: j.made.dataset, TableId: j.made.table}
	}
	c.Query = &q
	out := &bq.Job{Configuration: &c, JobReference: j.ref, Status: &bq.JobStatus{State: "RUNNING"}, Statistics: &bq.JobStatistics{StartTime: j.start.UnixMilli()}}
	if j.ended() {
		out.Status.State = "DONE"
		out.Statistics.TotalBytesProcessed = j.read
		out.Statistics.Query = &bq.JobStatistics2{TotalBytesProcessed: j.read, TotalBytesBilled: billed(j.read)}
		if j.err != nil {
			out.Status.ErrorResult = &bq.ErrorProto{Reason: j.err.reason, Message: j.err.message, Location: "query"}
		}
	}
	return out
}

func (s *Server) job(r *http.Request) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.jobs[r.PathValue("job")]
	if j == nil || r.FormValue("location") != location {
		return nil, missing("Job " + r.PathValue("job"))
	}
	return j, nil
}

func (s *Server) getJob(w http.ResponseWriter, r *http.Request) error {
	j, err := s.job(r)
	if err != nil {
		return err
	}
	answer(w, j.message())
	return nil
}

func (s *Server) cancelJob(w http.ResponseWriter, r *http.Request) error {
	j, err := s.job(r)
	if err != nil {
		return err
	}
	j.cancel()
	answer(w, &bq.JobCancelResponse{Job: j.message()})
	return nil
}

// Cancelled says whether a job was ended by its caller. It waits for its end.
func (s *Server) Cancelled(id string) bool {
	s.mu.Lock()
	j := s.jobs[id]
	s.mu.Unlock()
	if j == nil {
		return false
	}
	<-j.done
	return j.err != nil && j.err.reason == "stopped"
}

func (s *Server) getQueryResults(w http.ResponseWriter, r *http.Request) error {
	j, err := s.job(r)
	if err != nil {
		return err
	}
	ms, _ := strconv.Atoi(r.FormValue("timeoutMs"))
	t := time.NewTimer(time.Duration(ms) * time.Millisecond)
	defer t.Stop()
	select {
	case <-j.done:
	case <-t.C:
		answer(w, &bq.GetQueryResultsResponse{JobReference: j.ref})
		return nil
	case <-r.Context().Done():
		return nil
	}
	if j.err != nil {
		return j.err
	}
	if j.made != nil {
		answer(w, &bq.GetQueryResultsResponse{JobComplete: true, JobReference: j.ref})
		return nil
	}
	out := &bq.GetQueryResultsResponse{JobComplete: true, JobReference: j.ref, TotalRows: uint64(j.rows), Schema: &bq.TableSchema{Fields: j.fields}} //nolint:gosec // a count
	most, _ := strconv.Atoi(r.FormValue("maxResults"))
	from, _ := strconv.Atoi(r.FormValue("pageToken"))
	if out.Rows, err = s.page(r.Context(), j, from, min(most, pageSize)); err != nil {
		return err
	}
	if at := from + len(out.Rows); int64(at) < j.rows {
		out.PageToken = strconv.Itoa(at)
	}
	answer(w, out)
	return nil
}

func (s *Server) page(ctx context.Context, j *job, from, n int) ([]*bq.TableRow, error) {
	texts := make([]string, len(j.fields))
	for i, f := range j.fields {
		texts[i] = "CAST(" + ident(f.Name) + " AS VARCHAR)"
	}
	//nolint:gosec // the test's own
	query := fmt.Sprintf("SELECT %s FROM %s.%s ORDER BY rowid LIMIT %d OFFSET %d", strings.Join(texts, ", "), hidden, j.table, n, from)
	rows, err := s.db.QueryContext(ctx, query) //nolint:gosec // the test's own
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	var out []*bq.TableRow
	for rows.Next() {
		values, into := make([]sql.NullString, len(texts)), make([]any, len(texts))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := &bq.TableRow{}
		for _, v := range values {
			cell := &bq.TableCell{}
			if v.Valid {
				cell.V = v.String
			}
			row.F = append(row.F, cell)
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// look answers what a dry run says of a query, and the query in DuckDB's SQL.
func (s *Server) look(ctx context.Context, q *bq.JobConfigurationQuery) (*bq.JobStatistics2, string, error) {
	made, err := creationOf(q.Query)
	if err != nil {
		return nil, "", err
	}
	text := q.Query
	if made != nil {
		if err := s.mayMake(ctx, *made); err != nil {
			return nil, "", err
		}
		text = made.query
	}
	parsed, err := statements(text)
	if err != nil {
		return nil, "", err
	}
	switch len(parsed) {
	case 0:
		return nil, "", bad("Syntax error: Unexpected end of statement at [1:1]")
	case 1:
	default:
		return &bq.JobStatistics2{StatementType: "SCRIPT"}, "", nil
	}
	travelled, err := s.travel(ctx, parsed[0], q.QueryParameters)
	if err != nil {
		return nil, "", err
	}
	translated, undeclared, err := translate(travelled, q.QueryParameters)
	if err != nil {
		return nil, "", err
	}
	c, err := s.db.Conn(ctx)
	if err != nil {
		return nil, "", err
	}
	defer c.Close() //nolint:errcheck // it goes back to the pool
	if _, err := c.ExecContext(ctx, searchPath); err != nil {
		return nil, "", err
	}
	names, typ, err := prepared(ctx, c, translated)
	if err != nil {
		return nil, "", explained(err, 0)
	}
	out := &bq.JobStatistics2{StatementType: typ}
	for _, p := range undeclared {
		out.UndeclaredQueryParameters = append(out.UndeclaredQueryParameters, &bq.QueryParameter{Name: p})
	}
	if typ != "SELECT" {
		return out, "", s.mayWrite()
	}
	if err := distinct(names); err != nil {
		return nil, "", err
	}
	if out.Schema, err = described(ctx, c, translated); err != nil {
		return nil, "", err
	}
	if made != nil {
		out.StatementType = "CREATE_TABLE_AS_SELECT"
	}
	out.TotalBytesProcessed, err = scanned(ctx, c, parsed[0])
	return out, translated, err
}

func (s *Server) mayWrite() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writable {
		return &refusal{http.StatusForbidden, "accessDenied", "Access Denied: Permission bigquery.tables.create denied"}
	}
	return nil
}

// prepared answers the names of a statement's columns and its type.
func prepared(ctx context.Context, c *sql.Conn, translated string) (names []string, typ string, err error) {
	err = c.Raw(func(raw any) error {
		st, err := raw.(driver.ConnPrepareContext).PrepareContext(ctx, translated)
		if err != nil {
			return err
		}
		defer st.Close() //nolint:errcheck // nothing is lost
		stmt := st.(*duckdb.Stmt)
		kind, err := stmt.StatementType()
		if err != nil {
			return err
		}
		if typ = typeNames[kind]; typ == "" {
			return bad("Syntax error: Unexpected keyword at [1:1]")
		}
		n, err := stmt.ColumnCount()
		if err != nil {
			return err
		}
		for i := range n {
			name, err := stmt.ColumnName(i)
			if err != nil {
				return err
			}
			names = append(names, name)
		}
		return nil
	})
	return names, typ, err
}

var typeNames = map[duckdb.StmtType]string{ //nolint:gochecknoglobals // never changed
	duckdb.STATEMENT_TYPE_SELECT: "SELECT", duckdb.STATEMENT_TYPE_INSERT: "INSERT", duckdb.STATEMENT_TYPE_UPDATE: "UPDATE",
	duckdb.STATEMENT_TYPE_DELETE: "DELETE", duckdb.STATEMENT_TYPE_CREATE: "CREATE_TABLE", duckdb.STATEMENT_TYPE_ALTER: "ALTER_TABLE",
	duckdb.STATEMENT_TYPE_DROP: "DROP_TABLE", duckdb.STATEMENT_TYPE_TRANSACTION: "SCRIPT", duckdb.STATEMENT_TYPE_VARIABLE_SET: "SCRIPT",
}

// distinct refuses names that differ at most in case, and such as BigQuery's columns cannot have.
func distinct(names []string) error {
	seen := map[string]bool{}
	for _, n := range names {
		if n == "" || strings.ContainsAny(n, "!\"$()*,./;?@[\\]^`{}~") {
			return &refusal{http.StatusBadRequest, "invalidQuery", "Invalid field name \"" + n + "\"."}
		}
		if seen[strings.ToLower(n)] {
			return bad("Duplicate column names in the result are not supported when a destination table is present. Found duplicate(s): " + n)
		}
		seen[strings.ToLower(n)] = true
	}
	return nil
}

// described answers the columns of a SELECT.
func described(ctx context.Context, c *sql.Conn, translated string) (*bq.TableSchema, error) {
	query := "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM (\n" + translated + "\n) AS q)" //nolint:gosec // the test's own
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return nil, explained(err, 1)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	out := &bq.TableSchema{}
	for rows.Next() {
		var name, typ string
		if err := rows.Scan(&name, &typ); err != nil {
			return nil, err
		}
		out.Fields = append(out.Fields, fieldOf(name, typ))
	}
	return out, rows.Err()
}

// bytesPerCell is what a cell of a table is said to have.
const bytesPerCell = 8

// scanned answers how many bytes of tables a statement reads: of all columns of those that it names.
func scanned(ctx context.Context, c *sql.Conn, tokens []googlesql.Token) (int64, error) {
	rows, err := c.QueryContext(ctx, "SELECT schema_name, table_name, estimated_size * column_count FROM duckdb_tables()")
	if err != nil {
		return 0, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	var out int64
	for rows.Next() {
		var schema, table string
		var cells int64
		if err := rows.Scan(&schema, &table, &cells); err != nil {
			return 0, err
		}
		for _, t := range tokens {
			if schema == Dataset && (t.Kind == googlesql.Word && t.Text == table || t.Kind == googlesql.Name && strings.HasSuffix("."+googlesql.Unquote(t.Text), "."+table)) {
				out += cells * bytesPerCell
				break
			}
		}
	}
	return out, rows.Err()
}

var (
	where   = regexp.MustCompile(`(?s)\n+LINE (\d+): (.*?)\n( *)\^`)             //nolint:gochecknoglobals // compiled once
	column  = regexp.MustCompile(`(?:Referenced column|column named) "([^"]+)"`) //nolint:gochecknoglobals // compiled once
	noTable = regexp.MustCompile(`(?:Table|Function) .*does not exist`)          //nolint:gochecknoglobals // compiled once
)

// explained answers DuckDB's fault as BigQuery words it, with the line. Literals stay in it, as they do in BigQuery's.
func explained(err error, shift int) error {
	var known *refusal
	if errors.As(err, &known) {
		return known
	}
	text, at := err.Error(), ""
	if m := where.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		at = fmt.Sprintf(" at [%d:%d]", max(1, line-shift), max(1, len(m[3])-len("LINE : ")-len(m[1])+1))
	}
	if m := column.FindStringSubmatch(text); m != nil {
		return bad("Unrecognized name: " + m[1] + at)
	}
	first, _, _ := strings.Cut(text, "\n")
	if noTable.MatchString(first) {
		return missing("Table " + Project + ":" + Dataset + " was not found in location " + location)
	}
	return bad("Syntax error: " + first + at)
}
