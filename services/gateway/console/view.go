package console

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"

	"millrace.dev/pkg/fault"
)

// request is what a page is asked by.
type request struct {
	*http.Request
	// workspace is the one of the path.
	workspace string
}

// path answers the address of something in the request's workspace, of parts that are escaped.
func (r *request) path(parts ...string) string { return pathIn(r.workspace, parts...) }

func pathIn(workspace string, parts ...string) string {
	var b strings.Builder
	b.WriteString("/w/" + url.PathEscape(workspace))
	for _, p := range parts {
		b.WriteString("/" + url.PathEscape(p))
	}
	return b.String()
}

// pageAt answers the address of the page of a list that a token names, with the query that the list is narrowed by; empty
// without a token.
func pageAt(token, path string, pairs ...string) string {
	if token == "" {
		return ""
	}
	return addressOf(path, append(pairs, "page", token)...)
}

// view is what a request is answered with.
type view interface {
	write(c *Console, w http.ResponseWriter, r *request) error
}

// page is a whole page: the template of its name within the frame.
type page struct {
	name    string // of the template, without .html
	title   string
	section string // of the navigation: syncs, runs, traces, profiles, connections, apply
	data    any
	// failure is told above the page, which is answered as it is, with the failure's status: a form keeps what was typed.
	failure error
}

// fragment is a block of a page's template alone, for scripts that put it in its place.
type fragment struct {
	name, block string
	data        any
}

// seeOther leads to another address, after what was asked for is done: to ask again repeats nothing.
type seeOther string

// frame is what the layout shows around a page.
type frame struct {
	Workspace, Title, Section string
	Done                      string
	Failure                   *failure
	Data                      any
}

func (p page) write(c *Console, w http.ResponseWriter, r *request) error {
	f := frame{Workspace: r.workspace, Title: p.title, Section: p.section, Done: done[r.URL.Query().Get("done")], Data: p.data}
	status := http.StatusOK
	if p.failure != nil {
		told := failureOf(p.failure)
		told.Again = false // what was typed, and what was done, is not sent again by itself
		f.Failure, status = &told, told.Status
	}
	return c.render(w, status, p.name, "layout", f)
}

func (f fragment) write(c *Console, w http.ResponseWriter, _ *request) error {
	return c.render(w, http.StatusOK, f.name, f.block, f.data)
}

func (s seeOther) write(_ *Console, w http.ResponseWriter, r *request) error {
	http.Redirect(w, r.Request, string(s), http.StatusSeeOther)
	return nil
}

// render writes a block of a page's template once it is whole.
func (c *Console) render(w http.ResponseWriter, status int, name, block string, data any) error {
	var b bytes.Buffer
	if err := c.execute(&b, name, block, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // who has left needs no answer
	return nil
}

func (c *Console) execute(w io.Writer, name, block string, data any) error {
	t, ok := c.templates[name]
	if !ok {
		return fault.New(fault.Internal, fault.ReasonInternal, "there is no template %s", name)
	}
	if err := t.ExecuteTemplate(w, block, data); err != nil {
		return fault.New(fault.Internal, fault.ReasonInternal, "show %s: %w", name, err)
	}
	return nil
}

// page makes a handler of a function that answers a view. An error becomes a page that says so.
func (c *Console) page(answer func(r *request) (view, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		r := &request{Request: hr, workspace: workspaceOf(hr)}
		v, err := answer(r)
		if err == nil {
			err = v.write(c, w, r)
		}
		if err != nil {
			c.fail(hr.Context(), w, r, err)
		}
	}
}

func workspaceOf(r *http.Request) string {
	if w := r.PathValue("workspace"); w != "" {
		return w
	}
	return "default"
}

// done are what pages say after an act, by the word that led back to them (?done=).
var done = map[string]string{ //nolint:gochecknoglobals // a table
	"activated": "The sync is active.",
	"paused":    "The sync is paused. Runs in hand go on to their end.",
	"resumed":   "The sync is active again.",
	"deleted":   "It is deleted.",
	"created":   "It is created.",
	"saved":     "It is saved.",
	"started":   "The run is started.",
	"cancelled": "The run is cancelled; what was accounted for stands.",
	"stopping":  "The run is being cancelled; what was accounted for stands.",
	"retried":   "A new run is started, which takes over what the old one finished.",
	"approved":  "The run goes on.",
	"dropped":   "The run is dropped; what was accounted for stands.",
	"replayed":  "The rejects are sent again through the current mapping.",
	"applied":   "The documents are applied.",
	"tested":    "The test is sent.",
	"unmerged":  "The merge is taken back; the value that glued the two does not merge them again.",
}

// after leads to an address that then says what was done.
func after(path, word string) seeOther { return seeOther(path + "?done=" + word) }
