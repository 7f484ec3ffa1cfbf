// Package bigquerytest is a peer of BigQuery for tests: servers that speak its REST API, its Storage Read API and the
// token endpoint of service accounts as Google's clients use them, over data that DuckDB holds.
//
// What a query is, DuckDB decides: the peer translates the part of BigQuery's SQL that the driver and its tests write.
// It is built with cgo and the tag duckdb_arrow.
package bigquerytest
