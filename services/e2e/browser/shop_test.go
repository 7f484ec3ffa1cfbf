package browser_test

import "fmt"

// visitsDocuments are the documents of a sync of which every hundredth row has a text for the number of visits; rule is what
// its mapping makes of them.
func visitsDocuments(rule string) string {
	return fmt.Sprintf(`
kind: Connection
id: shop
duckdb: {path: ./shop.duckdb}
---
kind: DataModel
id: visits
connection: shop
record_kind: users
sql: |
  SELECT id, CASE WHEN id %% 100 = 1 THEN 'many' ELSE CAST(visits AS TEXT) END AS visits, updated_at
  FROM customers WHERE id <= 1000
key_columns: [id]
iterator: {column: updated_at, type: timestamp, time_zone: UTC}
---%s---
kind: Sync
id: visits
data_model: visits
mapping: visits
mode: incremental
schedule: {on_demand: {}}
state: active
`, visitsMapping(rule))
}

// visitsMapping is the mapping of visitsDocuments alone.
func visitsMapping(rule string) string {
	return fmt.Sprintf(`
kind: Mapping
id: visits
rules:
  - object: user_identities
    rules:
      - {column: id, to: customer_id, type: string}
  - object: user_attributes
    rules:
      - %s
`, rule)
}

// What the mapping makes of visits: at first it rejects what is no number, then it knows better.
const (
	asNumber = "{column: visits, to: visits, type: integer}"
	asMended = `{expression: "row.visits == 'many' ? 99 : int(row.visits)", to: visits}`
)

// wrongDocuments are the documents of a connection to a warehouse that is not there.
const wrongDocuments = `
kind: Connection
id: elsewhere
display_name: Warehouse that moved
duckdb: {path: ./moved.duckdb}
`

// manyDocuments are the documents of a sync whose run takes as long as it takes to look at it.
const manyDocuments = `
kind: Connection
id: shop
duckdb: {path: ./shop.duckdb}
---
kind: DataModel
id: many
connection: shop
record_kind: users
sql: SELECT i AS id FROM range(1, 24001) r(i)
key_columns: [id]
---
kind: Mapping
id: many
rules: [{column: id, to: user_identities.customer_id, type: string}]
---
kind: Sync
id: many
data_model: many
mapping: many
mode: full
schedule: {on_demand: {}}
state: active
`
