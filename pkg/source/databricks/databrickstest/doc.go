// Package databrickstest is a SQL warehouse of Databricks for tests: it speaks Thrift binary over HTTP as the vendor's
// client does, with Arrow results within the answers or as result files to download, OAuth and access tokens, and computes
// with DuckDB. It misbehaves on request.
//
// It takes the SQL that the driver writes and the part of Databricks' dialect that tests need (translate.go), and one
// statement at a time of one kind: SELECT, DESCRIBE QUERY, DESCRIBE HISTORY, DESCRIBE DETAIL, DESCRIBE SCHEMA, SHOW
// TBLPROPERTIES. Tables have versions, and change data feeds where their property says so (table.go); the numbers of
// versions are the warehouse's, one for each call of Exec.
package databrickstest
