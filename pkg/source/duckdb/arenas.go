//go:build cgo && duckdb_arrow && linux

package duckdb

/*
#include <malloc.h>

static void fewArenas(void) {
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 2);
#endif
}
*/
import "C"

// fewArenas keeps the C library from having a heap of its own for each thread: what is freed in one is not used by
// another, and a long read leaves hundreds of megabytes in them. MALLOC_ARENA_MAX has no effect beside it.
func fewArenas() { C.fewArenas() }
