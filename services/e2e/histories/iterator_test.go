package histories_test

import (
	"fmt"
	"time"
)

// iterator is a column that orders change. A tick is a step on it, whatever its type; several ticks may be one value.
// The zero iterator is none.
type iterator struct {
	name  string
	word  string            // of the data model
	types map[string]string // of the column, by warehouse; none: the warehouse has no such type
	timed bool              // rows have a time by it
	days  bool
	// at answers the value of a tick: nanoseconds for instants, days for dates, thousandths for numbers, counted from base
	// or from zero.
	at func(tick int64) int64
}

var base = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func iterators() []iterator {
	micros := func(k int64) int64 { return k*1e9 + (k*7919%1e6)*1e3 }
	nanos := func(k int64) int64 { return k*1e9 + k*7919*7919%1e9 }
	return []iterator{
		{name: "timestamp", word: "timestamp", types: map[string]string{"duckdb": "TIMESTAMP", "postgres": "TIMESTAMP"}, timed: true, at: micros},
		{name: "timestamp_ns", word: "timestamp", types: map[string]string{"duckdb": "TIMESTAMP_NS"}, timed: true, at: nanos},
		{name: "timestamptz", word: "timestamp", types: map[string]string{"duckdb": "TIMESTAMPTZ", "postgres": "TIMESTAMPTZ"}, timed: true, at: micros},
		{name: "date", word: "date", types: map[string]string{"duckdb": "DATE", "postgres": "DATE"}, timed: true, days: true, at: func(k int64) int64 { return k / 40 }},
		{name: "integer", word: "integer", types: map[string]string{"duckdb": "BIGINT", "postgres": "BIGINT"}, at: func(k int64) int64 { return k / 2 * 1000 }},
		{name: "decimal", word: "decimal", types: map[string]string{"duckdb": "DECIMAL(18,3)", "postgres": "NUMERIC(18,3)"}, at: func(k int64) int64 { return k*1000 + k%8*125 }},
	}
}

// unit answers what a second or day of the lookback is on the iterator; 0 for numbers, which have none.
func (i iterator) unit() int64 {
	switch {
	case i.days:
		return 1
	case i.timed:
		return int64(time.Second)
	}
	return 0
}

// time answers the time that a row has by its value, in nanoseconds since the epoch.
func (i iterator) time(at int64) int64 {
	if i.days {
		return base.AddDate(0, 0, int(at)).UnixNano()
	}
	return base.UnixNano() + at
}

// literal answers the SQL of a tick's value; NULL for none.
func (i iterator) literal(tick int64) string {
	if i.name == "" || tick == none {
		return "NULL"
	}
	at := i.at(tick)
	switch {
	case i.days:
		return base.AddDate(0, 0, int(at)).Format("'2006-01-02'")
	case i.name == "timestamptz":
		return base.Add(time.Duration(at)).Format("'2006-01-02 15:04:05.000000+00'")
	case i.timed:
		return base.Add(time.Duration(at)).Format("'2006-01-02 15:04:05.000000000'")
	}
	return fmt.Sprintf("%d.%03d", at/1000, at%1000)
}

// lookbackText answers the lookback as the sync writes it.
func (h history) lookbackText() string {
	if h.iterator.days {
		return fmt.Sprintf("%dd", h.lookback)
	}
	return fmt.Sprintf("%ds", h.lookback)
}
