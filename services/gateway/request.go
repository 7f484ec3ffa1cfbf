package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// read reads the variables of the path, the query and the body of a request and answers it with the last two in the form
// that the generated code takes. It tells all that is wrong with them at once.
func (s *Service) read(w http.ResponseWriter, r *http.Request, rt route, vars map[string]string, in *place) (*http.Request, error) {
	faults := unreadable(r, rt, vars)
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		faults = append(faults, fault.Violation{Field: "query", Message: "can not be read", Fix: "escape what is not letters and digits with %XX"})
	}
	values, more := rt.query(values)
	faults = append(faults, more...)
	body, err := s.body(w, r, rt, in)
	var f *fault.Error
	switch {
	case errors.As(err, &f) && len(f.Violations) > 0:
		faults = append(faults, f.Violations...)
	case err != nil:
		return r, err
	}
	faults = append(faults, rt.contradictions(vars, body)...)
	if err := fault.Of(fault.ReasonInvalidArgument, faults); err != nil {
		return r, err //nolint:wrapcheck // born here
	}
	if mask := rt.mask(values, body); mask != "" {
		values.Set(updateMask, mask)
	}
	u := *r.URL
	u.RawQuery = values.Encode()
	r.URL = &u
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Del("Grpc-Timeout") // the time is the gateway's to give
	r.Header.Del("TE")           // answers have no trailers
	return r, nil
}

// unreadable tells what of a path and the header Idempotency-Key is no text.
func unreadable(r *http.Request, rt route, vars map[string]string) []fault.Violation {
	const fix = "write it in UTF-8"
	var out []fault.Violation
	for _, name := range rt.variables() {
		if !utf8.ValidString(vars[name]) {
			out = append(out, fault.Violation{Field: name, Message: "is no UTF-8", Fix: fix})
		}
	}
	if !utf8.ValidString(r.Header.Get(idempotencyHeader)) {
		out = append(out, fault.Violation{Field: idempotencyHeader, Message: "is no UTF-8", Fix: fix})
	}
	return out
}

// contradictions tells where a body names another resource than its path.
func (rt route) contradictions(vars map[string]string, body []byte) []fault.Violation {
	var out []fault.Violation
	for _, name := range rt.variables() {
		path := name
		if rt.body != "*" {
			var ok bool
			if path, ok = strings.CutPrefix(name, rt.body+"."); !ok {
				continue
			}
		}
		if said := textAt(body, path); said != "" && said != vars[name] {
			out = append(out, fault.Violation{File: "body", Field: path, Message: "is not what the path says", Fix: "leave it out of the body"})
		}
	}
	return out
}

// textAt answers the text at a path of names in a JSON object, empty where there is none.
func textAt(object []byte, path string) string {
	v := json.RawMessage(object)
	for name := range strings.SplitSeq(path, ".") {
		var fields map[string]json.RawMessage
		if json.Unmarshal(v, &fields) != nil {
			return ""
		}
		v = fields[name]
	}
	var text string
	_ = json.Unmarshal(v, &text) // it may be absent, or null
	return text
}

// updateMask is the field of an update that names the fields to change.
const updateMask = "update_mask"

// mask answers the mask of an update that has none: the fields that the body has, null clearing one. Of meta it is what
// its owner may change.
func (rt route) mask(values url.Values, body []byte) string {
	if rt.verb != http.MethodPatch || values.Has(updateMask) || rt.method.Input().Fields().ByName(updateMask) == nil {
		return ""
	}
	var fields, meta map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return ""
	}
	_ = json.Unmarshal(fields["meta"], &meta) // there may be none
	delete(fields, "meta")
	paths := slices.Sorted(maps.Keys(fields))
	for _, name := range []string{"display_name", "labels"} {
		if _, ok := meta[name]; ok {
			paths = append(paths, "meta."+name)
		}
	}
	return strings.Join(paths, ",")
}

// body reads a bounded body within the time that enter has set, and answers it as protojson; empty where there is none.
func (s *Service) body(w http.ResponseWriter, r *http.Request, rt route, in *place) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	if err := s.form(r); err != nil {
		return nil, err
	}
	if r.ContentLength > s.settings.MaxBody {
		return nil, s.tooLarge()
	}
	if err := in.hold(max(r.ContentLength, 0)); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.settings.MaxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, refusal{http.StatusRequestTimeout, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the body did not arrive within %s", s.settings.ReadTimeout)}
	case err != nil:
		return nil, fault.New(fault.Cancelled, fault.ReasonCancelled, "the body broke off: %w", err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // a reader without deadlines has none
	if err := in.hold(int64(len(data))); err != nil {
		return nil, err // it came without its length
	}
	d := rt.message()
	switch text := bytes.TrimSpace(data); {
	case len(text) == 0:
		return nil, nil
	case d == nil && string(text) == "{}":
		return nil, nil
	case d == nil:
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Message: rt.verb + " " + rt.path + " takes no body", Fix: "leave it out"}}) //nolint:wrapcheck // born here
	}
	return rpc.PlainJSON(data, d) //nolint:wrapcheck // classified
}

// form refuses bodies in other forms than plain JSON.
func (s *Service) form(r *http.Request) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return unsupported("the body is compressed; send it plain")
	}
	given := r.Header.Get("Content-Type")
	if given == "" {
		return nil
	}
	form, params, err := mime.ParseMediaType(given)
	if err != nil || form != "application/json" || params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
		return unsupported("the body is not application/json in UTF-8; send JSON with Content-Type: application/json")
	}
	return nil
}

func unsupported(message string) error {
	return refusal{http.StatusUnsupportedMediaType, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "%s", message)}
}

func (s *Service) tooLarge() error {
	return refusal{http.StatusRequestEntityTooLarge, fault.New(fault.Invalid, fault.ReasonLimitExceeded, "the body is larger than %d bytes; send less at once", s.settings.MaxBody)}
}
