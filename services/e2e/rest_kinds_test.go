package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/stretchr/testify/require"
)

// restKinds reads what each kind of records has become.
func restKinds(t *testing.T, c rest) {
	w := warehouse{path: t.TempDir() + "/shop.duckdb"}
	w.exec(t,
		`CREATE TABLE companies AS SELECT 'c' || i AS id, 'Company ' || i AS name, i AS seats FROM range(20) t(i)`,
		`CREATE TABLE people AS SELECT 'p' || i AS customer_id, ['c' || (i % 3)] AS company FROM range(9) t(i)`,
		`CREATE TABLE products AS SELECT 's' || i AS sku, 'Product ' || i AS title FROM range(20) t(i)`,
		`CREATE TABLE orders AS SELECT i AS id, 'p1' AS customer_id, TIMESTAMP '2026-01-01' + INTERVAL (i) HOUR AS ordered_at, 's' || i AS sku FROM range(3) t(i)`,
		`CREATE TABLE plans (customer_id TEXT, since DATE, plan TEXT)`)
	c.apply(fmt.Sprintf(kinds, w.path))
	for sync, rows := range map[string]string{"companies": "20", "people": "9", "products": "20", "orders": "3"} {
		require.Equal(t, rows, c.end(c.trigger("POST", sync, nil))["counts"].(object)["created"], sync)
	}

	require.Len(t, list(t, c.ask("GET", "/groups/company?page_size=7", nil).ok(), "groups"), 7)
	group := c.ask("GET", "/groups/company/c7", nil).ok()
	require.Equal(t, "Company 7", group["attributes"].(object)["name"])
	c7 := object{"group_type": "company", "group_id": "c7"}
	require.Equal(t, group, c.ask("POST", "/groups:lookup", c7).ok())
	require.Len(t, list(t, c.ask("GET", "/groups/company/c1/members", nil).ok(), "profiles"), 3)
	require.Len(t, list(t, c.ask("POST", "/groups:members", object{"group_type": "company", "group_id": "c1", "page_size": 2}).ok(), "profiles"), 2)

	row := c.ask("GET", "/data-models/products/row?key_values=s7", nil).ok()
	require.Equal(t, "Product 7", row["row"].(object)["title"])
	require.Equal(t, row, c.ask("POST", "/data-models/products:lookup", object{"key_values": []string{"s7"}}).ok())
	c.ask("GET", "/data-models/products/row?key_values=s99", nil).problem(http.StatusNotFound, "not_found")

	p1 := object{"identity": object{"type": "customer_id", "value": "p1"}}
	mpid := c.ask("POST", "/profiles:lookup", p1).ok()["mpid"].(string)
	events := list(t, c.ask("GET", "/profiles/"+mpid+"/events", nil).ok(), "events")
	require.Len(t, events, 3)
	require.Equal(t, events, list(t, c.ask("POST", "/profiles:events", p1).ok(), "events"))
	require.Len(t, list(t, c.ask("GET", "/syncs/orders/events?page_size=2", nil).ok(), "events"), 2)
}

// restSteps goes a preview's way by itself: rows through a mapping, and its records to the store, which writes nothing.
func restSteps(t *testing.T, c rest) {
	w := newWarehouse(t, 10)
	c.apply(w.documents("customers", asIs))
	read := func(path string) object { return c.ask("GET", path, nil).ok() }
	snapshot := object{
		"sync": read("/syncs/customers"), "connection": read("/connections/customers"),
		"data_model": read("/data-models/customers"), "mapping": read("/mappings/customers"),
	}
	body := object{"mapping": snapshot["mapping"], "data_model": snapshot["data_model"], "arrow_schema": people(t, 0)}
	valid := c.ask("POST", "/mappings:validate", body).ok()
	require.Equal(t, []any{"id"}, valid["key_columns"])
	require.Contains(t, valid["fields"], "user_identities.customer_id")
	body["mapping"] = object{"meta": object{"id": "bad"}, "rules": []object{{"column": "nope", "to": "user_attributes.a"}, {"column": "email", "to": "user_identities.mail"}}}
	require.Greater(t, len(fieldsOf(t, c.ask("POST", "/mappings:validate", body).problem(http.StatusBadRequest, "mapping_invalid"))), 1)

	mapped := c.ask("POST", "/mappings:preview", object{"mapping": snapshot["mapping"], "data_model": snapshot["data_model"], "arrow": people(t, 3)}).ok()
	require.Len(t, list(t, mapped, "rows"), 3)
	would := list(t, c.ask("POST", "/records:preview", object{"snapshot": snapshot, "records": mapped["records"]}).ok(), "records")
	require.Len(t, would, 3)
	require.Equal(t, "created", would[0]["effect"])
	require.Equal(t, "0", c.ask("GET", "/store/digest", nil).ok()["profiles"])
}

// people answers so many of a warehouse's customers as an Arrow stream; none: their schema.
func people(t *testing.T, n int) []byte {
	t.Helper()
	text := arrow.BinaryTypes.String
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "email", Type: text}, {Name: "first_name", Type: text}, {Name: "plan", Type: text},
		{Name: "visits", Type: arrow.PrimitiveTypes.Int32}, {Name: "updated_at", Type: arrow.FixedWidthTypes.Timestamp_us}, {Name: "etl_batch", Type: arrow.PrimitiveTypes.Int32},
	}, nil)
	var out bytes.Buffer
	stream := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if n > 0 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		for i := range n {
			row := fmt.Sprintf(`{"id":%[1]d,"email":"user%[1]d@example.com","first_name":"First","plan":"pro","visits":1,"updated_at":"2024-01-01T00:00:00Z","etl_batch":1}`, i)
			require.NoError(t, b.UnmarshalJSON([]byte(row)))
		}
		rec := b.NewRecordBatch()
		defer rec.Release()
		require.NoError(t, stream.Write(rec))
	}
	require.NoError(t, stream.Close())
	return out.Bytes()
}

const guardedCustomers = 1000

// guarded loads a warehouse under a guard.
func (c rest) guarded() warehouse {
	c.t.Helper()
	w := newWarehouse(c.t, guardedCustomers)
	c.apply(w.documents("customers", asIs) + "guard: {updates: {max_percent: 20, min_rows: 100}}\n")
	require.Equal(c.t, "succeeded", c.end(c.trigger("POST", "customers", nil))["state"])
	return w
}

// held starts a run that breaches the guard, and watches it until it is held: it stays open, and so does its stream.
func (c rest) held(w warehouse) (id string, stream *bufio.Scanner) {
	c.t.Helper()
	w.exec(c.t, "UPDATE customers SET first_name = first_name || '!', updated_at = updated_at + INTERVAL 1 DAY WHERE id % 2 = 0")
	id = c.trigger("POST", "customers", nil)
	res := c.open("GET", "/runs/"+id+":watch", nil)
	c.t.Cleanup(func() { _ = res.Body.Close() }) // the process may have ended
	stream = bufio.NewScanner(res.Body)
	for stream.Scan() {
		var line struct{ Result object }
		require.NoError(c.t, json.Unmarshal(stream.Bytes(), &line), stream.Text())
		if line.Result["state"] == "held" {
			require.Equal(c.t, "guard_breached", line.Result["hold"].(object)["reason"])
			return id, stream
		}
	}
	require.Fail(c.t, "the run is not held", stream.Text())
	return "", nil
}

// restHolds lets a guard hold runs, of which the owner approves one and drops one; others fail or are cancelled.
func restHolds(t *testing.T, c rest) {
	w := c.guarded()
	id, _ := c.held(w)
	open := c.ask("POST", "/syncs/customers:trigger", nil).problem(http.StatusConflict, "run_open")
	require.Equal(t, id, open["metadata"].(object)["run"])
	require.Equal(t, id, c.ask("POST", "/runs/"+id+":approve", nil).ok()["id"])
	require.Equal(t, "succeeded", c.end(id)["state"])
	id, _ = c.held(w)
	require.Equal(t, "cancelled", c.ask("POST", "/runs/"+id+":drop", nil).ok()["state"])

	// A run that fails is retried, and one that is under way cancelled.
	w.exec(t, "ALTER TABLE customers RENAME TO gone")
	failed := c.end(c.trigger("POST", "customers", nil))
	require.Equal(t, "failed", failed["state"], failed)
	retry := c.ask("POST", "/runs/"+failed["id"].(string)+":retry", nil).ok()
	require.Equal(t, failed["id"], retry["retry_of"])
	require.Equal(t, "failed", c.end(retry["id"].(string))["state"])
	w.exec(t, "ALTER TABLE gone RENAME TO customers")
	w.add(t, guardedCustomers+1, 500_000)
	id = c.trigger("POST", "customers", object{"full": true})
	c.ask("POST", "/runs/"+id+":cancel", nil).ok()
	require.Equal(t, "cancelled", c.end(id)["state"])
}

// restSecrets sends credentials in every form, which no answer has.
func restSecrets(t *testing.T, c rest) {
	const secret = "hunter2-hunter2"
	var said []string
	ask := func(verb, path string, body any) reply {
		r := c.ask(verb, path, body)
		said = append(said, r.text)
		return r
	}
	vault := func(password any) object {
		return object{"meta": object{"id": "vault"}, "postgres": object{"host": "127.0.0.1", "database": "d", "user": "u", "password": password, "sslmode": "disable"}}
	}
	made := ask("POST", "/connections", vault(object{"plain": secret})).ok()
	require.Equal(t, object{"kept": true}, made["postgres"].(object)["password"])
	require.Equal(t, made, ask("GET", "/connections/vault", nil).ok())
	require.Equal(t, []object{made}, list(t, ask("GET", "/connections", nil).ok(), "connections"))
	// What was read can be sent back, and the stored password stays.
	made = ask("PATCH", "/connections/vault", made).ok()
	require.Equal(t, object{"kept": true}, made["postgres"].(object)["password"])
	require.Contains(t, ask("GET", "/documents", nil).text, "vault")
	ask("GET", "/connections/vault/setup", nil).ok()
	ask("POST", "/connections/vault:test", nil).ok()
	ask("POST", "/documents:apply", object{"documents": []object{{"file": "v.yaml", "content": strings.Join([]string{
		"kind: Connection", "id: vault2", "postgres:", "  host: 127.0.0.1", "  database: d", "  user: u", "  password: " + secret, "  colour: " + secret,
	}, "\n")}}}).problem(http.StatusBadRequest, "invalid_argument")
	for _, password := range []any{secret, object{"plain": secret, "colour": secret}, object{"plain": []string{secret}}, object{"sealed": secret}, object{"plain": secret, "kept": true}} {
		ask("POST", "/connections", vault(password)).problem(http.StatusBadRequest, "invalid_argument")
	}
	ask("POST", "/connections", `{"postgres": {"password": {"plain": "`+secret).problem(http.StatusBadRequest, "invalid_argument")
	ask("GET", "/connections?filter=colour%3D"+secret, nil).problem(http.StatusBadRequest, "invalid_argument")
	ask("GET", "/connections?page_token="+secret, nil).problem(http.StatusBadRequest, "invalid_argument")
	ask("GET", "/connections?page_size="+secret, nil).problem(http.StatusBadRequest, "invalid_argument")
	for _, text := range said {
		require.NotContains(t, text, secret)
	}
}
