package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// object is a JSON object as a client sees it.
type object = map[string]any

// rest is a client of the REST API that knows nothing of Millrace but paths and JSON.
type rest struct {
	t    *testing.T
	base string // with the workspace
}

// reply is what the API said.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	text   string
}

// ask sends a request. body is nil, a text as it is, or what becomes JSON.
func (c rest) ask(verb, path string, body any, headers ...string) reply {
	c.t.Helper()
	res := c.open(verb, path, body, headers...)
	defer func() { require.NoError(c.t, res.Body.Close()) }()
	text, err := io.ReadAll(res.Body)
	require.NoError(c.t, err)
	return reply{c.t, res.StatusCode, res.Header, string(text)}
}

func (c rest) open(verb, path string, body any, headers ...string) *http.Response {
	c.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		require.NoError(c.t, err)
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), verb, c.base+path, in)
	require.NoError(c.t, err)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(c.t, err)
	return res
}

// ok answers the document of a reply that must be 200.
func (r reply) ok() object {
	r.t.Helper()
	require.Equal(r.t, http.StatusOK, r.status, r.text)
	require.Equal(r.t, "application/json", r.header.Get("Content-Type"))
	return r.document()
}

// problem answers the problem of a reply that must be one of that status and reason.
func (r reply) problem(status int, reason string) object {
	r.t.Helper()
	require.Equal(r.t, status, r.status, r.text)
	require.Equal(r.t, "application/problem+json", r.header.Get("Content-Type"))
	p := r.document()
	require.Equal(r.t, reason, p["reason"], r.text)
	require.InEpsilon(r.t, status, p["status"], 0)
	require.NotEmpty(r.t, p["type"])
	require.NotEmpty(r.t, p["title"])
	require.NotEmpty(r.t, p["detail"])
	return p
}

func (r reply) document() object {
	r.t.Helper()
	var out object
	require.NoError(r.t, json.Unmarshal([]byte(r.text), &out), r.text)
	return out
}

// fieldsOf answers the fields of a problem's violations.
func fieldsOf(t *testing.T, p object) []string {
	t.Helper()
	var out []string
	for _, v := range list(t, p, "violations") {
		field, _ := v["field"].(string)
		out = append(out, field)
	}
	return out
}

// list answers a list of objects in a document.
func list(t *testing.T, doc object, name string) []object {
	t.Helper()
	items, ok := doc[name].([]any)
	require.True(t, ok, "%s of %v", name, doc)
	out := make([]object, len(items))
	for i, e := range items {
		out[i], ok = e.(object)
		require.True(t, ok)
	}
	return out
}

// lines answers the results of a stream, which must end by itself and without an error.
func (c rest) lines(verb, path string, body any) []object {
	c.t.Helper()
	res := c.open(verb, path, body)
	defer func() { require.NoError(c.t, res.Body.Close()) }()
	require.Equal(c.t, http.StatusOK, res.StatusCode)
	require.Equal(c.t, "application/x-ndjson", res.Header.Get("Content-Type"))
	var out []object
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 8<<20)
	for in.Scan() {
		var line struct {
			Result object
			Error  any
		}
		require.NoError(c.t, json.Unmarshal(in.Bytes(), &line), in.Text())
		require.Nil(c.t, line.Error, in.Text())
		out = append(out, line.Result)
	}
	require.NoError(c.t, in.Err())
	return out
}
