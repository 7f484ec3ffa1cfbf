package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func restProfiles(t *testing.T, c rest) {
	w := newWarehouse(t, 200)
	c.apply(w.documents("customers", asIs))
	id := c.trigger("POST", "customers", nil)
	require.Equal(t, "succeeded", c.end(id)["state"])

	ann := object{"identity": object{"type": "email", "value": "user7@example.com"}}
	p := c.ask("POST", "/profiles:lookup", ann).ok()
	require.Equal(t, "First7", p["user_attributes"].(object)["$firstname"])
	require.Equal(t, id, p["provenance"].(object)["plan"].(object)["run"])
	mpid := "/profiles/" + p["mpid"].(string)
	require.Equal(t, p, c.ask("GET", mpid, nil).ok())
	require.Equal(t, p, c.ask("GET", mpid+"?environment=prod", nil).ok())
	c.ask("GET", mpid+"?environment=dev", nil).problem(http.StatusNotFound, "not_found")
	c.ask("POST", "/profiles:lookup", object{"identity": object{"type": "email", "value": "nobody@example.com"}}).problem(http.StatusNotFound, "not_found")

	// All profiles, by pages of 70.
	seen := map[string]bool{}
	for token := ""; ; {
		page := c.ask("GET", "/profiles?page_size=70&page_token="+url.QueryEscape(token), nil).ok()
		for _, p := range list(t, page, "profiles") {
			seen[p["mpid"].(string)] = true
		}
		if token = page["next_page_token"].(string); token == "" {
			break
		}
	}
	require.Len(t, seen, 200)
	require.Empty(t, list(t, c.ask("GET", mpid+"/events", nil).ok(), "events"))
	require.Empty(t, list(t, c.ask("POST", "/profiles:events", ann).ok(), "events"))
	require.Empty(t, list(t, c.ask("GET", mpid+"/merges", nil).ok(), "merges"))
	require.Empty(t, list(t, c.ask("POST", "/profiles:merges", ann).ok(), "merges"))
	c.ask("POST", "/merges/none:undo", nil).problem(http.StatusBadRequest, "invalid_argument")
	require.Empty(t, list(t, c.ask("GET", "/syncs/customers/events?from=2024-01-01T00:00:00Z", nil).ok(), "events"))
	require.Empty(t, list(t, c.ask("GET", "/groups/company", nil).ok(), "groups"))
	c.ask("GET", "/groups/company/acme", nil).problem(http.StatusNotFound, "not_found")
	c.ask("POST", "/groups:lookup", object{"group_type": "company", "group_id": "a/c:me"}).problem(http.StatusNotFound, "not_found")
	require.Empty(t, list(t, c.ask("GET", "/groups/company/acme/members", nil).ok(), "profiles"))
	require.Empty(t, list(t, c.ask("POST", "/groups:members", object{"group_type": "company", "group_id": "a/c:me"}).ok(), "profiles"))
	require.NotEqual(t, http.StatusOK, c.ask("GET", "/data-models/customers/row?key_values=1", nil).status, "it is no lookup table")
}

func restRejects(t *testing.T, c rest) {
	w := newBadWarehouse(t)
	c.apply(asFirst(w))
	id := c.trigger("POST", "customers", nil)
	require.Equal(t, "partially_succeeded", c.end(id)["state"])

	page := c.ask("GET", "/runs/"+id+"/rejects?page_size=7", nil).ok()
	require.Len(t, list(t, page, "rejects"), 7)
	require.NotEmpty(t, page["next_page_token"])
	counted := list(t, page, "by_reason")
	require.Len(t, counted, 3)
	require.Equal(t, "30", counted[0]["rejects"])
	rows := 0
	for _, line := range c.lines("GET", "/runs/"+id+"/rejects:export", nil) {
		rows += len(list(t, line, "rejects"))
	}
	require.Equal(t, 90, rows)

	c.apply(asMended(w))
	replay := c.ask("POST", "/runs/"+id+"/rejects:replay", nil).ok()
	require.Equal(t, "replay", replay["reason"])
	end := c.end(replay["id"].(string))
	require.Equal(t, "succeeded", end["state"], end)
	require.Equal(t, "90", end["counts"].(object)["created"])
}

func restErasure(t *testing.T, c rest) {
	w := newWarehouse(t, 50)
	c.apply(w.documents("customers", asIs))
	require.Equal(t, "succeeded", c.end(c.trigger("POST", "customers", nil))["state"])

	ann := object{"identity": object{"type": "email", "value": "user7@example.com"}, "environment": "prod"}
	require.Equal(t, "1", c.ask("POST", "/profiles:previewErase", ann).ok()["profiles"])
	erasure := c.ask("POST", "/profiles:erase", ann).ok()
	id := erasure["id"].(string)
	require.Equal(t, "email", erasure["identity_type"])
	require.Equal(t, id, c.ask("GET", "/erasures/"+id, nil).ok()["id"])
	require.Equal(t, id, c.ask("POST", "/erasures:lookup", ann).ok()["id"])
	c.ask("POST", "/profiles:lookup", ann).problem(http.StatusNotFound, "not_found")

	would := c.lines("POST", "/syncs/customers/imports:previewDelete", nil)
	require.Equal(t, "49", would[len(would)-1]["profiles"])
	gone := c.lines("POST", "/syncs/customers/imports:delete", object{})
	require.Equal(t, "49", gone[len(gone)-1]["profiles_deleted"])
	require.Equal(t, "0", c.ask("GET", "/store/digest", nil).ok()["profiles"])
}

func restMistakes(t *testing.T, c rest) {
	// What can not be read: all of it at once, with places, and without a value.
	p := c.ask("POST", "/syncs?colour=red", `{
  "meta": {"id": 7, "shape": "round"},
  "mode": "sideways", "lookback": false,
  "from": "yesterday-secret"
}`).problem(http.StatusBadRequest, "invalid_argument")
	require.ElementsMatch(t, []string{"colour", "meta.id", "meta.shape", "mode", "lookback", "from"}, fieldsOf(t, p))
	require.NotContains(t, c.ask("POST", "/syncs", `{"from":"yesterday-secret"}`).text, "secret")
	for _, v := range list(t, p, "violations") {
		if v["field"] == "lookback" {
			require.InEpsilon(t, 3.0, v["line"], 0)
			require.InEpsilon(t, 35.0, v["column"], 0)
		}
	}
	// What can be read and breaks rules: the service's violations, as gRPC has them.
	p = c.ask("POST", "/syncs", object{"meta": object{"id": "Not Good"}, "mode": "mirror", "lookback": "10 fortnights", "trigger_limit": "5/x"}).problem(http.StatusBadRequest, "invalid_argument")
	require.Greater(t, len(fieldsOf(t, p)), 2, p)
	// The same in documents, by file, line and column.
	p = c.ask("POST", "/documents:apply", object{"documents": []object{{"file": "bad.yaml", "content": "kind: Feed\nid: x\ncolour: red\nenvironment: moon\n"}}}).problem(http.StatusBadRequest, "invalid_argument")
	require.Len(t, fieldsOf(t, p), 2)
	require.Equal(t, "bad.yaml", list(t, p, "violations")[0]["file"])

	p = c.ask("POST", "/feeds", `{"meta": {"id": "x"},`).problem(http.StatusBadRequest, "invalid_argument")
	require.Len(t, fieldsOf(t, p), 1)
	c.ask("POST", "/feeds", `{"meta": {"id": "`+strings.Repeat("x", 5<<20)+`"}}`).problem(http.StatusRequestEntityTooLarge, "limit_exceeded")
	c.ask("POST", "/feeds", `meta: x`, "Content-Type", "application/yaml").problem(http.StatusUnsupportedMediaType, "invalid_argument")
	c.ask("GET", "/teapots", nil).problem(http.StatusNotFound, "not_found")
	r := c.ask("DELETE", "/syncs/x:trigger", nil)
	r.problem(http.StatusMethodNotAllowed, "invalid_argument")
	require.Equal(t, "POST, PUT", r.header.Get("Allow"))

	// A limit is told with how long to wait.
	w := newWarehouse(t, 5)
	c.apply(strings.Replace(w.documents("customers", asIs), "kind: Sync", "kind: Sync\ntrigger_limit: 1/h", 1))
	require.Equal(t, "succeeded", c.end(c.trigger("POST", "customers", nil))["state"])
	r = c.ask("POST", "/syncs/customers:trigger", nil)
	r.problem(http.StatusTooManyRequests, "limit_exceeded")
	require.NotEmpty(t, r.header.Get("Retry-After"))
}

func restTraces(t *testing.T, c rest) {
	made := c.ask("POST", "/trace-configs", object{"id": "all", "sampling": "one_in", "one_in": 5, "stages": []string{"map"}}).ok()
	require.Equal(t, "one_in", made["sampling"])
	require.Equal(t, []object{made}, list(t, c.ask("GET", "/trace-configs", nil).ok(), "configs"))
	c.ask("POST", "/trace-configs", object{"id": "all", "sampling": "one_in"}).problem(http.StatusBadRequest, "invalid_argument")
	c.ask("DELETE", "/trace-configs/all", nil).ok()

	w := newWarehouse(t, 10)
	c.apply(w.documents("customers", asIs))
	run := c.end(c.trigger("POST", "customers", nil))
	id := run["trace_id"].(string)
	eventually(t, "the run's trace is readable", func() bool {
		return c.ask("GET", "/traces/"+id, nil).status == http.StatusOK &&
			len(list(t, c.ask("GET", "/traces?order_by=duration%20desc&filter="+url.QueryEscape("kind=run AND run="+run["id"].(string)), nil).ok(), "traces")) == 1
	})
	require.NotEmpty(t, list(t, c.ask("GET", "/traces/"+id, nil).ok(), "spans"))
	// A request has a trace of its own, whose root is the gateway's, or goes on one that it names.
	const mine = "4bf92f3577b34da6a3ce929d0e0e4736"
	c.ask("GET", "/syncs/customers", nil, "traceparent", "00-"+mine+"-00f067aa0ba902b7-01").ok()
	eventually(t, "the request's trace is readable", func() bool {
		r := c.ask("GET", "/traces/"+mine, nil)
		return r.status == http.StatusOK && strings.Contains(r.text, `"name":"GET /v1/workspaces/{workspace}/syncs/{id}"`) && strings.Contains(r.text, "GetSync")
	})
}
