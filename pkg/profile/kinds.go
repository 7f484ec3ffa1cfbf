package profile

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
)

// singleColumnsOf reads the body of records that are documents of their own.
func (d *decider) singleColumnsOf(kind record.Kind, body *array.Struct) eventColumns {
	switch kind {
	case record.Lookup:
		generation := d.table.Generation
		return eventColumns{
			types: func(int) string { return "" }, data: body, body: fieldsOf(body),
			times: func(int) (int64, bool) { return generation, true },
		}
	case record.History:
		return historyColumnsOf(body)
	case record.Events, record.Users, record.Groups:
	}
	return eventColumnsOf(body)
}

func historyColumnsOf(s *array.Struct) eventColumns {
	e := eventColumns{types: func(int) string { return "" }, times: func(int) (int64, bool) { return 0, false }}
	t := s.DataType().(*arrow.StructType) //nolint:forcetypeassert // a struct array has a struct type
	if at, ok := t.FieldIdx(record.FieldStartTime); ok {
		e.times = millisOf(s.Field(at))
	}
	if at, ok := t.FieldIdx(record.FieldAttributes); ok {
		if e.data, ok = s.Field(at).(*array.Struct); ok {
			e.body = fieldsOf(e.data)
		}
	}
	return e
}

// place says where the row at i goes, and writes it into its entry. Where it goes nowhere it counts why and answers
// false.
func (d *decider) place(i int, key id.Row, v Version, e *Entry) bool {
	switch d.kind {
	case record.Events:
		e.Profile = d.resolveEvent(i)
		if e.Profile == 0 {
			e.Flags |= FlagUnattributed
		}
	case record.Lookup:
		e.Profile = LookupKey(d.k.Scope, d.keyValue(i))
	case record.History:
		if !d.placeHistory(i, key, v, e) {
			return false
		}
	case record.Users, record.Groups:
		return !d.mistyped(i, key, v) && d.resolveUser(i, key, v, e)
	}
	e.EventTime = d.event.time(i, v.Time)
	return true
}

// placeHistory finds the profile whose history the row at i is a version of, making one where it may.
func (d *decider) placeHistory(i int, key id.Row, v Version, e *Entry) bool {
	if !d.usable(i) {
		d.refuse(i, key, v)
		return false
	}
	if !d.readOnly {
		e.Profile = d.resolveEvent(i)
	}
	if e.Profile == 0 {
		d.count(Protected, 0)
		return false
	}
	return true
}

// Table says which lookup table a batch belongs to. The zero value is a table that is changed row by row.
type Table struct {
	// Generation names the table that the run fills. Readers see it once the run has succeeded.
	Generation int64
	// Current is the generation that readers see; rows that are in an older one only are gone.
	Current int64
}

// has says whether the entry of a row stands for something that is there: an entry of a lookup row that the current
// table lacks does not.
func (d *decider) has(old Entry) bool {
	if !old.Found || old.Tombstone {
		return false
	}
	return d.kind != record.Lookup || old.EventTime >= d.table.Current || old.EventTime == d.table.Generation
}

// carries says whether a row must be written although nothing of it has changed: into the next generation of its table.
func (d *decider) carries(old Entry) bool {
	return d.kind == record.Lookup && old.EventTime != d.table.Generation
}

// eventScope answers where the single documents of a batch go.
func eventScope(s Scope, k record.Kind) Scope {
	switch k {
	case record.Users:
		return s.Members()
	case record.History:
		return s.History()
	case record.Events, record.Groups, record.Lookup:
	}
	return s
}
