// Package sharingtest is a Delta Sharing server for tests: the protocol's lists, metadata, queries and change data feeds over
// HTTP, and the Parquet files that they name under links that expire. What is shared are the tables of a DuckDB database,
// written as files, version by version.
package sharingtest
