//go:build cgo && duckdb_arrow

package sharingtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// prefix is where the protocol's addresses begin.
const prefix = "/delta-sharing"

func (p *Peer) handler() http.Handler {
	m := http.NewServeMux()
	tables := prefix + "/shares/{share}/schemas/{schema}/tables/{table}/"
	m.HandleFunc("GET "+prefix+"/shares/{share}", p.call("share", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"share": map[string]string{"name": Share}})
	}))
	m.HandleFunc("GET "+prefix+"/shares/{share}/schemas", p.call("list", func(w http.ResponseWriter, r *http.Request) {
		list(w, r, []map[string]string{{"name": "other", "share": Share}, {"name": Schema, "share": Share}})
	}))
	m.HandleFunc("GET "+prefix+"/shares/{share}/schemas/{schema}/tables", p.call("list", p.list))
	m.HandleFunc("GET "+prefix+"/shares/{share}/all-tables", p.call("list", p.list))
	m.HandleFunc("GET "+tables+"version", p.call("version", p.table(p.version)))
	m.HandleFunc("GET "+tables+"metadata", p.call("metadata", p.table(p.metadata)))
	m.HandleFunc("POST "+tables+"query", p.call("query", p.table(p.query)))
	m.HandleFunc("GET "+tables+"changes", p.call("changes", p.table(p.changes)))
	m.HandleFunc("GET /files/{epoch}/{file}", p.serve)
	return m
}

// call looks at the token and the share, and answers as it is told to where it is.
func (p *Peer) call(name string, do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f := p.called(name)
		defer p.opened()()
		p.mu.Lock()
		token := p.token
		p.mu.Unlock()
		switch {
		case r.Header.Get("Authorization") != "Bearer "+token:
			refuse(w, http.StatusUnauthorized, "UNAUTHENTICATED")
		case p.fault(w, f):
		case !strings.EqualFold(r.PathValue("share"), Share):
			refuse(w, http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST")
		case r.PathValue("schema") != "" && !strings.EqualFold(r.PathValue("schema"), Schema):
			refuse(w, http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST")
		default:
			rec := httptest.NewRecorder()
			do(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			p.send(w, r, f, rec.Code, rec.Body.Bytes())
		}
	}
}

func (p *Peer) opened() func() {
	add := func(n int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open += n
	}
	add(1)
	return func() { add(-1) }
}

// send answers a body, or what the fault makes of it.
func (p *Peer) send(w http.ResponseWriter, r *http.Request, f *Fault, status int, body []byte) {
	if f != nil {
		for k, v := range f.Header {
			w.Header().Set(k, v)
		}
	}
	if f != nil && f.Mangle != nil {
		body = f.Mangle(slices.Clone(body))
	}
	if status == http.StatusPartialContent || f == nil || !f.Cut {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if f != nil && (f.Cut || f.Hang) {
		_, _ = w.Write(body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		if f.Hang {
			select {
			case <-r.Context().Done():
			case <-p.stop:
			}
		}
		panic(http.ErrAbortHandler) //nolint:forbidigo // how a handler cuts its connection
	}
	_, _ = w.Write(body) // the client may be gone
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"errorCode": code, "message": "table secret_value: " + code})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}

// listPage is how many items a page has at most.
const listPage = 2

func list(w http.ResponseWriter, r *http.Request, items []map[string]string) {
	at, _ := strconv.Atoi(r.URL.Query().Get("pageToken"))
	end := min(at+listPage, len(items))
	out := map[string]any{}
	if at < end {
		out["items"] = items[at:end]
	}
	if end < len(items) {
		out["nextPageToken"] = strconv.Itoa(end)
	}
	answer(w, out)
}

func (p *Peer) list(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var items []map[string]string
	for name := range p.tables {
		items = append(items, map[string]string{"name": name, "schema": Schema, "share": Share, "id": strconv.FormatUint(hash(name), 16)})
	}
	slices.SortFunc(items, func(a, b map[string]string) int { return strings.Compare(a["name"], b["name"]) })
	list(w, r, items)
}

// table looks a table up.
func (p *Peer) table(do func(http.ResponseWriter, *http.Request, *table, Table)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for name, t := range p.tables {
			if !strings.EqualFold(name, r.PathValue("table")) {
				continue
			}
			set := p.settings[name]
			if set.Refused != "" {
				refuse(w, http.StatusBadRequest, set.Refused)
				return
			}
			w.Header().Set("Content-Type", "application/x-ndjson; charset=utf-8")
			do(w, r, t, set)
			return
		}
		refuse(w, http.StatusNotFound, "RESOURCE_DOES_NOT_EXIST")
	}
}

func (p *Peer) version(w http.ResponseWriter, _ *http.Request, t *table, _ Table) {
	w.Header().Set("Delta-Table-Version", strconv.Itoa(len(t.versions)-1))
}

func (p *Peer) metadata(w http.ResponseWriter, _ *http.Request, t *table, set Table) {
	w.Header().Set("Delta-Table-Version", strconv.Itoa(len(t.versions)-1))
	p.head(w, t, t.last(), set)
}

// head writes the lines of the protocol and of the table's metadata.
func (p *Peer) head(w http.ResponseWriter, t *table, v version, set Table) {
	protocol := map[string]any{"minReaderVersion": max(1, set.MinReader)}
	if set.Delta {
		protocol = map[string]any{"deltaProtocol": map[string]any{"minReaderVersion": 3}}
		w.Header().Set("Delta-Sharing-Capabilities", "responseformat=delta")
	}
	put(w, "protocol", protocol)
	p.meta(w, t, v, set)
}

// meta writes the line of a table's metadata in a version.
func (p *Peer) meta(w http.ResponseWriter, t *table, v version, set Table) {
	config := set.Config
	if config == nil && !set.NoFeed && !p.options.NoHistory {
		config = map[string]string{"enableChangeDataFeed": "true"}
	}
	provider := set.Provider
	if provider == "" {
		provider = "parquet"
	}
	partitions := []string{}
	if set.Partition != "" {
		partitions = append(partitions, set.Partition)
	}
	put(w, "metaData", map[string]any{
		"id": t.id, "format": map[string]string{"provider": provider},
		"schemaString": schemaString(v.columns, set.Mapped), "partitionColumns": partitions, "configuration": config,
	})
}

func put(w http.ResponseWriter, key string, v any) {
	_ = json.NewEncoder(w).Encode(map[string]any{key: v})
}

// query answers the files of a version, a page of them.
func (p *Peer) query(w http.ResponseWriter, r *http.Request, t *table, set Table) {
	q := Query{Table: t.name, Agent: r.UserAgent()}
	if json.NewDecoder(r.Body).Decode(&q) != nil {
		refuse(w, http.StatusBadRequest, "INVALID_PARAMETER_VALUE")
		return
	}
	p.queries = append(p.queries, q)
	n := len(t.versions) - 1
	if q.Version != nil {
		if p.options.NoHistory || *q.Version > int64(n) || *q.Version < 0 {
			refuse(w, http.StatusBadRequest, "INVALID_PARAMETER_VALUE")
			return
		}
		n = int(*q.Version)
	}
	w.Header().Set("Delta-Table-Version", strconv.Itoa(n))
	p.end(w, r)
	p.head(w, t, t.versions[n], set)
	p.page(w, r, q.Page, q.Max, len(t.versions[n].files), func(i int) {
		f := p.lineOf(r, t.versions[n].files[i])
		if set.Vectors && i == 0 {
			f["deletionVectorDescriptor"] = map[string]any{"storageType": "u"}
		}
		put(w, "file", f)
	})
}

// end says that pages have an end, where the client asks for one.
func (p *Peer) end(w http.ResponseWriter, r *http.Request) {
	if p.ends(r) {
		w.Header().Set("Delta-Sharing-Capabilities", "responseformat=parquet;includeendstreamaction=true")
	}
}

func (p *Peer) ends(r *http.Request) bool {
	return !p.options.NoEnd && strings.Contains(strings.ToLower(r.Header.Get("Delta-Sharing-Capabilities")), "includeendstreamaction=true")
}

func (p *Peer) page(w http.ResponseWriter, r *http.Request, token string, most, n int, each func(int)) {
	at, _ := strconv.Atoi(token)
	at = max(at, 0)
	end := n
	if p.options.PageFiles > 0 {
		end = min(n, at+min(p.options.PageFiles, max(1, most)))
	}
	for i := at; i < end; i++ {
		each(i)
	}
	if end < n || p.ends(r) {
		last := map[string]any{"minUrlExpirationTimestamp": time.Now().Add(time.Hour).UnixMilli()}
		if end < n {
			last["nextPageToken"] = strconv.Itoa(end)
		}
		put(w, "endStreamAction", last)
	}
}

func (p *Peer) lineOf(r *http.Request, f file) map[string]any {
	out := map[string]any{
		"url": fmt.Sprintf("http://%s/files/%d/%s?X-Signature=abc", r.Host, p.epoch, f.path[len(p.dir)+1:]),
		"id":  f.id, "size": f.size, "partitionValues": f.partition, "expirationTimestamp": time.Now().Add(time.Hour).UnixMilli(),
	}
	if f.partition == nil {
		out["partitionValues"] = map[string]string{}
	}
	if f.stats != "" {
		out["stats"] = f.stats
	}
	return out
}

// changes answers the files of changes.
func (p *Peer) changes(w http.ResponseWriter, r *http.Request, t *table, set Table) {
	from, err := strconv.ParseInt(r.URL.Query().Get("startingVersion"), 10, 64)
	to, err2 := strconv.ParseInt(r.URL.Query().Get("endingVersion"), 10, 64)
	most, _ := strconv.Atoi(r.URL.Query().Get("maxFiles"))
	switch {
	case err != nil || err2 != nil || from > to || to >= int64(len(t.versions)):
		refuse(w, http.StatusBadRequest, "INVALID_PARAMETER_VALUE")
		return
	case p.options.NoHistory || set.NoFeed:
		refuse(w, http.StatusBadRequest, "DS_CDF_NOT_ENABLED")
		return
	case from < set.FeedFrom:
		refuse(w, http.StatusBadRequest, "DS_CDF_START_VERSION_TOO_EARLY")
		return
	}
	w.Header().Set("Delta-Table-Version", strconv.FormatInt(from, 10))
	p.end(w, r)
	p.head(w, t, t.versions[to], set)
	if r.URL.Query().Get("includeHistoricalMetadata") == "true" {
		for n := max(from, 1); n <= to; n++ {
			v, was := t.versions[n], t.versions[n-1]
			if v.set.NoFeed != was.set.NoFeed || schemaString(v.columns, false) != schemaString(was.columns, false) {
				p.meta(w, t, v, v.set)
			}
		}
	}
	files := t.changed(from, to)
	p.page(w, r, r.URL.Query().Get("pageToken"), most, len(files), func(i int) {
		f := p.lineOf(r, files[i].file)
		f["version"], f["timestamp"] = files[i].version, files[i].at.UnixMilli()
		put(w, files[i].action, f)
	})
}

// changed is a file of a feed.
type changed struct {
	file
	version int64
	at      time.Time
	action  string
}

// changed answers the files of a feed: those of its own, or those that went and came where all rows were written again.
func (t *table) changed(from, to int64) []changed {
	var out []changed
	for n := from; n <= to; n++ {
		v := t.versions[n]
		add := func(action string, files []file) {
			for _, f := range files {
				out = append(out, changed{f, n, v.at, action})
			}
		}
		if n == 0 || v.anew {
			if n > 0 {
				add("remove", t.versions[n-1].files)
			}
			add("add", v.files)
			continue
		}
		add("cdf", v.changes)
	}
	return out
}

// serve answers a file's bytes where its link holds. A token is not sent to stores.
func (p *Peer) serve(w http.ResponseWriter, r *http.Request) {
	f := p.called("file")
	defer p.opened()()
	p.mu.Lock()
	epoch := strconv.Itoa(p.epoch)
	p.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "" || r.URL.Query().Get("X-Signature") != "abc" || r.PathValue("epoch") != epoch:
		w.WriteHeader(http.StatusForbidden)
		return
	case p.fault(w, f):
		return
	}
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	defer func() { _ = root.Close() }()
	data, err := root.ReadFile(r.PathValue("file"))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if p.options.NoRanges {
		r.Header.Del("Range")
	}
	rec := httptest.NewRecorder()
	http.ServeContent(rec, r, "", time.Time{}, bytes.NewReader(data))
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	p.send(w, r, f, rec.Code, rec.Body.Bytes())
}
