//go:build cgo && duckdb_arrow

package bigquery_test

import (
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// most counts what is allocated now, and what was at most.
type most struct {
	memory.Allocator
	now, peak atomic.Int64
}

func (m *most) add(n int64) {
	now := m.now.Add(n)
	for {
		peak := m.peak.Load()
		if now <= peak || m.peak.CompareAndSwap(peak, now) {
			return
		}
	}
}

func (m *most) Allocate(size int) []byte {
	m.add(int64(size))
	return m.Allocator.Allocate(size)
}

func (m *most) Reallocate(size int, b []byte) []byte {
	m.add(int64(size - len(b)))
	return m.Allocator.Reallocate(size, b)
}

func (m *most) Free(b []byte) {
	m.add(-int64(len(b)))
	m.Allocator.Free(b)
}
