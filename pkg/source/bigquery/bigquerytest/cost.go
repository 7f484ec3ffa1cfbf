//go:build cgo && duckdb_arrow

package bigquerytest

// billed answers what BigQuery bills for a query that goes through so many bytes: whole megabytes, ten at least.
func billed(read int64) int64 {
	const megabyte = 1 << 20
	if read == 0 {
		return 0
	}
	return max(10, (read+megabyte-1)/megabyte) * megabyte
}
