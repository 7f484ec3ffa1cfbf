package record

// Kind is what a batch's records are.
type Kind uint8

// The kinds. Their numbers travel.
const (
	Users Kind = iota + 1
	Events
	Groups
	Lookup  // rows of a lookup table
	History // of profiles or groups: what they were from a start time on
)

// The body columns by kind. Users' is ColumnAttributes, events' ColumnEvent.
const (
	ColumnGroup   = "group_attributes" // struct: one field per attribute; the one identity's type is the group type
	ColumnLookup  = "lookup"           // struct: one field per column of the table
	ColumnHistory = "history"          // struct: start_time_ms int64, then attributes (a struct)
)

// The fields of ColumnHistory.
const (
	FieldStartTime  = "start_time_ms"
	FieldAttributes = "attributes"
)

// Valid says whether k is one of the kinds.
func (k Kind) Valid() bool { return k >= Users && k <= History }

// Body answers the name of the body column of k's records.
func (k Kind) Body() string {
	switch k {
	case Events:
		return ColumnEvent
	case Groups:
		return ColumnGroup
	case Lookup:
		return ColumnLookup
	case History:
		return ColumnHistory
	case Users:
	}
	return ColumnAttributes
}

// Single says whether each record is kept as a document of its own; others are merged into what they are about.
func (k Kind) Single() bool { return k == Events || k == Lookup || k == History }

// appendRecord appends the records of kinds whose JSON is their columns by name.
func appendRecord(dst []byte, b Batch, i int) []byte {
	s := b.Record.Schema()
	dst = append(dst, '{')
	if ids := b.Record.Column(PosIdentities); b.Kind != Lookup {
		name := "user_identities"
		if b.Kind == Groups {
			name = "group"
		}
		dst = append(append(append(dst, '"'), name...), `":`...)
		dst = append(AppendJSON(dst, ids, s.Field(PosIdentities), i), ',')
	}
	dst = append(append(append(dst, '"'), b.Kind.Body()...), `":`...)
	return append(AppendJSON(dst, b.Record.Column(PosBody), s.Field(PosBody), i), '}')
}
