package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRESTOfTheOneProcess plays everything that REST offers against `millrace up`, and stops it.
func TestRESTOfTheOneProcess(t *testing.T) {
	t.Parallel()
	c := newChild(t, "millrace", "up", "--data", filepath.Join(t.TempDir(), "data"))
	base := c.web(t)
	playREST(t, base)
	stopsWhileWatched(t, c, rest{t, base + "/v1/workspaces/stopped"})
}

// TestRESTInManyProcesses plays the same with a gateway in a process of its own beside the five, and the trace service.
func TestRESTInManyProcesses(t *testing.T) {
	t.Parallel()
	f := startFive(t)
	c := newChild(t, "gateway", "--trace-addr", f.tracer.addr)
	for _, peer := range f.children {
		c.args = append(c.args, "--"+peer.name+"-addr", peer.addr)
	}
	base := c.web(t)
	playREST(t, base)
	stopsWhileWatched(t, c, rest{t, base + "/v1/workspaces/stopped"})
}

// web starts a child that answers HTTP, and answers where.
func (c *child) web(t *testing.T) string {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	addr := freeAddress(t)
	c.args = append(c.args, "--http", addr)
	c.start(t)
	c.ready(t)
	return "http://" + addr
}

// stopsWhileWatched tells a process to end while a run is watched through it: the stream ends with a problem, and the process
// with 0.
func stopsWhileWatched(t *testing.T, c *child, r rest) {
	_, lines := r.held(r.guarded())
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM))
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	require.NoError(t, lines.Err(), "the answer is whole")
	require.Contains(t, last, `{"error":{"type":"urn:millrace:problem:service_unavailable"`)
	<-c.done
	require.Zero(t, c.cmd.ProcessState.ExitCode())
}

// playREST plays the scenarios, each in a workspace of its own.
func playREST(t *testing.T, base string) {
	for i, s := range []struct {
		name string
		run  func(*testing.T, rest)
	}{
		{"the life of every resource", restResources},
		{"documents", restDocuments},
		{"runs", restRuns},
		{"profiles", restProfiles},
		{"rejects", restRejects},
		{"deleted imports and erased persons", restErasure},
		{"every kind of records", restKinds},
		{"a preview step by step", restSteps},
		{"runs that are held or fail or are cancelled", restHolds},
		{"no secret is answered", restSecrets},
		{"mistakes are problems", restMistakes},
		{"traces", restTraces},
	} {
		t.Run(s.name, func(t *testing.T) { s.run(t, rest{t, fmt.Sprintf("%s/v1/workspaces/rest-%d", base, i)}) })
	}
	everyRouteHasBeenAsked(t, base)
}

// everyRouteHasBeenAsked holds the scenarios to the document: each of its routes has answered what was asked for.
func everyRouteHasBeenAsked(t *testing.T, base string) {
	var unasked []string
	figures := rest{t, base}.ask("GET", "/metrics", nil).text
	for path, methods := range (rest{t, base}).ask("GET", "/v1/openapi.json", nil).ok()["paths"].(object) {
		for verb := range methods.(object) {
			asked := regexp.MustCompile(`millrace_gateway_requests_total\{method="` + strings.ToUpper(verb) + `",route="` + anyNames(path) + `",status="200"\}`)
			if !asked.MatchString(figures) {
				unasked = append(unasked, verb+" "+path)
			}
		}
	}
	require.Equal(t, []string{"post /v1/workspaces/{workspace}/merges/{merge}:undo"}, unasked, "nobody is merged here")
}

// anyNames answers a pattern for a path whose variables may have longer names.
func anyNames(path string) string {
	return regexp.MustCompile(`\\\{(\w+)\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `\{[a-z_.]*$1\}`)
}

// restResources goes once round the life of each kind.
func restResources(t *testing.T, c rest) {
	w := newWarehouse(t, 1)
	for _, r := range []struct {
		plural string
		make   object // less its meta
		change object
		field  string
		want   any
	}{
		{"connections", object{"duckdb": object{"path": w.path}}, object{"duckdb": object{"path": w.path + "2"}}, "duckdb", object{"path": w.path + "2"}},
		{"feeds", object{"environment": "dev"}, object{"input_protection": "update_only"}, "input_protection", "update_only"},
		{"data-models", object{"connection": "one", "record_kind": "users", "sql": "SELECT 1 AS id", "key_columns": []string{"id"}}, object{"sql": "SELECT 2 AS id"}, "sql", "SELECT 2 AS id"},
		{"mappings", object{"rules": []object{{"column": "id", "to": "user_identities.customer_id", "type": "string"}}}, object{"rules": []object{{"column": "id", "to": "user_identities.email", "type": "string"}}}, "", nil},
		{"syncs", object{"data_model": "one", "mapping": "one", "mode": "full", "schedule": object{"on_demand": object{}}}, object{"schedule": object{"every": object{"every": "1h"}}}, "", nil},
		{
			"alerts", object{"syncs": []string{"one"}, "webhook": object{"url": "http://127.0.0.1:9/hook", "secret": object{"plain": "sixteen bytes or more"}}},
			object{"on": []string{"failed"}}, "on", []any{"failed"},
		},
	} {
		key := strings.ReplaceAll(r.plural, "-", "_")
		path := "/" + r.plural
		r.make["meta"] = object{"id": "one", "display_name": "The first"}
		made := c.ask("POST", path, r.make).ok()
		etag := made["meta"].(object)["etag"]
		require.NotEmpty(t, etag)
		require.Equal(t, made, c.ask("GET", path+"/one", nil).ok())
		require.Equal(t, []object{made}, list(t, c.ask("GET", path+"?page_size=10&filter=id%3Done", nil).ok(), key))

		again := c.ask("POST", path, r.make).problem(http.StatusConflict, "already_exists")
		require.Contains(t, again["instance"], path)

		r.change["meta"] = object{"etag": etag}
		changed := c.ask("PATCH", path+"/one", r.change).ok()
		require.NotEqual(t, etag, changed["meta"].(object)["etag"])
		// What was read can be sent back.
		changed = c.ask("PATCH", path+"/one", changed).ok()
		require.Equal(t, "The first", changed["meta"].(object)["display_name"], "the mask is what the body has")
		if r.field != "" {
			require.Equal(t, r.want, changed[r.field])
		}
		c.ask("PATCH", path+"/one?update_mask=meta.display_name", object{"meta": object{"etag": etag, "display_name": "x"}}).problem(http.StatusConflict, "stale_etag")
		r.make["meta"] = object{"id": "one", "etag": changed["meta"].(object)["etag"]}
		whole := c.ask("PATCH", path+"/one?update_mask=*", r.make).ok()
		require.Equal(t, "one", whole["meta"].(object)["display_name"], "* replaces everything")
	}
	tested := c.ask("POST", "/alerts/one:test", nil).ok()
	require.Equal(t, false, tested["ok"])
	require.Contains(t, list(t, tested, "results")[0]["message"], "leads to this machine or a private network")
	used := c.ask("DELETE", "/connections/one", nil).problem(http.StatusConflict, "in_use")
	require.Contains(t, used["detail"], "one")
	for _, plural := range []string{"alerts", "syncs", "mappings", "data-models", "feeds", "connections"} {
		c.ask("DELETE", "/"+plural+"/one", nil).ok()
		c.ask("GET", "/"+plural+"/one", nil).problem(http.StatusNotFound, "not_found")
	}
}

// restDocuments applies YAML by JSON, and asks the warehouse.
func restDocuments(t *testing.T, c rest) {
	w := newWarehouse(t, 30)
	body := object{"documents": []object{{"file": "shop.yaml", "content": w.documents("customers", asIs)}}, "dry_run": true}
	plan := c.ask("POST", "/documents:apply", body).ok()
	require.Equal(t, false, plan["applied"])
	require.Equal(t, "create", list(t, plan, "changes")[0]["action"])
	body["dry_run"] = false
	require.Equal(t, true, c.ask("POST", "/documents:apply", body).ok()["applied"])
	require.NotEmpty(t, list(t, c.ask("GET", "/documents", nil).ok(), "documents"))

	require.Equal(t, true, c.ask("POST", "/connections/customers:test", nil).ok()["ok"])
	require.Contains(t, c.ask("GET", "/connections/customers/setup", nil).ok(), "text")
	require.Contains(t, list(t, c.ask("GET", "/connections/customers/tables?prefix=cust", nil).ok(), "tables")[0]["name"], "customers")
	rows := list(t, c.ask("POST", "/data-models/customers:preview", object{"limit": 3}).ok(), "rows")
	require.Len(t, rows, 3)
	preview := list(t, c.ask("POST", "/syncs/customers:preview", object{"limit": 2}).ok(), "rows")
	require.Len(t, preview, 2)
	require.Equal(t, "created", preview[0]["effect"])

	require.Equal(t, "paused", c.ask("POST", "/syncs/customers:pause", nil).ok()["state"])
	require.Equal(t, "active", c.ask("POST", "/syncs/customers:resume", nil).ok()["state"])
	require.Equal(t, "active", c.ask("POST", "/syncs/customers:activate", nil).ok()["sync"].(object)["state"])
	// The page ends, and the token leads on.
	first := c.ask("GET", "/syncs?page_size=1", nil).ok()
	require.Len(t, list(t, first, "syncs"), 1)
}

// trigger starts a run and answers its id.
func (c rest) trigger(verb, sync string, body any, headers ...string) string {
	c.t.Helper()
	run := c.ask(verb, "/syncs/"+sync+":trigger", body, headers...).ok()
	id, _ := run["id"].(string)
	require.NotEmpty(c.t, id)
	return id
}

// end watches a run to its end and answers it.
func (c rest) end(id string) object {
	c.t.Helper()
	lines := c.lines("GET", "/runs/"+id+":watch", nil)
	require.NotEmpty(c.t, lines)
	return lines[len(lines)-1]
}

// apply applies documents.
func (c rest) apply(documents string) {
	c.t.Helper()
	c.ask("POST", "/documents:apply", object{"documents": []object{{"file": "all.yaml", "content": documents}}}).ok()
}

func restRuns(t *testing.T, c rest) {
	const n = 5_000
	w := newWarehouse(t, n)
	c.apply(w.documents("customers", asIs))

	id := c.trigger("PUT", "customers", nil, "Idempotency-Key", "monday")
	require.Equal(t, id, c.trigger("POST", "customers", object{"idempotency_key": "monday"}), "the same key answers the same run, by header and by field")
	run := c.end(id)
	require.Equal(t, "succeeded", run["state"], run)
	require.Equal(t, "api", run["reason"])
	require.Equal(t, "live", run["lane"])
	counts := run["counts"].(object)
	require.Equal(t, fmt.Sprint(n), counts["read"])
	require.Equal(t, fmt.Sprint(n), counts["created"])
	require.Equal(t, "0", counts["updated"], "zeros are there")
	require.Equal(t, true, run["certificate"].(object)["balanced"])

	require.Equal(t, run, c.ask("GET", "/runs/"+id, nil).ok())
	require.Equal(t, run, list(t, c.ask("GET", "/syncs/customers/runs", nil).ok(), "runs")[0])
	require.Equal(t, run, list(t, c.ask("GET", "/runs?sync=customers&filter=state%3Dsucceeded", nil).ok(), "runs")[0])
	require.Equal(t, run["certificate"], c.ask("GET", "/runs/"+id+"/certificate", nil).ok()["certificate"])
	require.NotEmpty(t, list(t, c.ask("GET", "/runs/"+id+"/parts", nil).ok(), "parts"))
	require.NotEmpty(t, list(t, c.ask("GET", "/runs/"+id+"/batches?page_size=5", nil).ok(), "batches"))
	require.Equal(t, fmt.Sprint(n), c.ask("GET", "/store/digest", nil).ok()["profiles"])

	dry := c.end(c.trigger("POST", "customers", object{"dry_run": true, "full": true, "reason": "manual"}))
	require.Equal(t, "rehearsed", dry["state"])
	require.Equal(t, "manual", dry["reason"])
	for _, verb := range []string{"cancel", "approve", "drop", "retry"} {
		c.ask("POST", "/runs/"+id+":"+verb, nil).problem(http.StatusConflict, "run_state")
	}
	c.ask("GET", "/runs/01a22139-6d8a-7f1f-831a-794af15438b6", nil).problem(http.StatusNotFound, "not_found")
	c.ask("GET", "/runs/01a22139-6d8a-7f1f-831a-794af15438b6:watch", nil).problem(http.StatusNotFound, "not_found")
	c.ask("POST", "/syncs/nobody:trigger", nil).problem(http.StatusNotFound, "not_found")
}
