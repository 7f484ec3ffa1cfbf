//go:build cgo && duckdb_arrow

package bigquerytest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// refusal is an answer with an error, as BigQuery's API gives it.
type refusal struct {
	status          int
	reason, message string
}

// Error answers the message.
func (r *refusal) Error() string { return r.message }

func bad(message string) error {
	return &refusal{http.StatusBadRequest, "invalidQuery", message}
}

func missing(what string) error {
	return &refusal{http.StatusNotFound, "notFound", "Not found: " + what}
}

// serve wraps a method of the REST API with what all have: a token, faults, the project, errors.
func (s *Server) serve(method string, do func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if method != "jobs.insert" {
			s.note(Call{Method: method, Job: r.PathValue("job")})
		}
		f := s.fault(method)
		if f.play(w, r) {
			return
		}
		switch {
		case !s.known(r.Header.Get("Authorization")):
			answerFault(w, http.StatusUnauthorized, "authError", "Request had invalid authentication credentials.")
			return
		case r.PathValue("project") != Project:
			answerFault(w, http.StatusNotFound, "notFound", "Not found: Project "+r.PathValue("project"))
			return
		}
		to := w
		if f != nil { // what is done is not told
			to = discard{http.Header{}}
			defer drop(w)
		}
		if err := do(to, r); err != nil {
			var known *refusal
			if !errors.As(err, &known) {
				known = &refusal{http.StatusInternalServerError, "internalError", err.Error()}
			}
			answerFault(to, known.status, known.reason, known.message)
		}
	}
}

type discard struct{ h http.Header }

func (d discard) Header() http.Header       { return d.h }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	json.NewEncoder(w).Encode(v) //nolint:errcheck,gosec // the caller may go
}

func answerFault(w http.ResponseWriter, status int, reason, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	e := map[string]any{"code": status, "message": message, "errors": []any{map[string]string{"message": message, "domain": "global", "reason": reason}}}
	json.NewEncoder(w).Encode(map[string]any{"error": e}) //nolint:errcheck,gosec // the caller may go
}

// pageSize is how many entries a list has at most, so that lists have pages.
const pageSize = 2

func (s *Server) listDatasets(w http.ResponseWriter, _ *http.Request) error {
	out := &bq.DatasetList{Datasets: []*bq.DatasetListDatasets{{DatasetReference: &bq.DatasetReference{ProjectId: Project, DatasetId: Dataset}, Location: location}}}
	answer(w, out)
	return nil
}

func (s *Server) getDataset(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("dataset")
	if !s.hasDataset(name) {
		return missing("Dataset " + name)
	}
	s.mu.Lock()
	hours := int64(s.travels.Hours())
	s.mu.Unlock()
	answer(w, &bq.Dataset{DatasetReference: &bq.DatasetReference{ProjectId: Project, DatasetId: name}, Location: location, MaxTimeTravelHours: hours})
	return nil
}

func (s *Server) listTables(w http.ResponseWriter, r *http.Request) error {
	dataset := r.PathValue("dataset")
	if !s.hasDataset(dataset) {
		return missing("Dataset " + dataset)
	}
	s.expire()
	from, _ := strconv.Atoi(r.FormValue("pageToken"))
	rows, err := s.db.QueryContext(r.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY table_name LIMIT ? OFFSET ?`, dataset, pageSize+1, from)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	out := &bq.TableList{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		if len(out.Tables) == pageSize {
			out.NextPageToken = strconv.Itoa(from + pageSize)
			break
		}
		out.Tables = append(out.Tables, &bq.TableListTables{TableReference: &bq.TableReference{ProjectId: Project, DatasetId: dataset, TableId: name}})
	}
	if err := rows.Err(); err != nil {
		return err
	}
	answer(w, out)
	return nil
}

func (s *Server) getTable(w http.ResponseWriter, r *http.Request) error {
	s.expire()
	rows, err := s.db.QueryContext(r.Context(), `SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position`, r.PathValue("dataset"), r.PathValue("table"))
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says it
	schema := &bq.TableSchema{}
	for rows.Next() {
		var name, typ, nullable string
		if err := rows.Scan(&name, &typ, &nullable); err != nil {
			return err
		}
		f := fieldOf(name, typ)
		if nullable == "NO" {
			f.Mode = "REQUIRED"
		}
		schema.Fields = append(schema.Fields, f)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if len(schema.Fields) == 0 {
		return missing("Table " + strings.Join([]string{Project + ":" + r.PathValue("dataset"), r.PathValue("table")}, "."))
	}
	var n uint64
	//nolint:gosec // the test's own
	if err := s.db.QueryRowContext(r.Context(), "SELECT count(*) FROM "+ident(r.PathValue("dataset"))+"."+ident(r.PathValue("table"))).Scan(&n); err != nil {
		return err
	}
	out := &bq.Table{TableReference: &bq.TableReference{ProjectId: Project, DatasetId: r.PathValue("dataset"), TableId: r.PathValue("table")}, Schema: schema, NumRows: n, Type: "TABLE"}
	if r.PathValue("dataset") == Dataset {
		s.describe(out)
	}
	answer(w, out)
	return nil
}

// describe says what a table of the data set is, beside its columns.
func (s *Server) describe(t *bq.Table) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.live[keyOf(t.TableReference.TableId)]
	if x == nil {
		t.Type = "VIEW"
		return
	}
	if t.CreationTime = x.born.UnixMilli(); x.expiration > 0 {
		t.TimePartitioning = &bq.TimePartitioning{Type: "DAY", ExpirationMs: x.expiration * (24 * time.Hour).Milliseconds()}
	}
}
