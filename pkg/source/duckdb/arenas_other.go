//go:build !cgo || !duckdb_arrow || !linux

package duckdb

func fewArenas() {}
