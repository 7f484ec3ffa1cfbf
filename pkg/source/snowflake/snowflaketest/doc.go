// Package snowflaketest is a server that speaks the REST protocol of Snowflake as its client uses it, over a DuckDB
// database: sign-ins, sessions with tokens that expire, statements with bound values, results in Arrow form with chunks
// of their own, polling, cancelling, and tables as they were. What it knows of Snowflake's SQL is what the driver writes
// and what models of tests use.
package snowflaketest
