package mapper

import (
	"time"

	"millrace.dev/pkg/mapping"
)

// Settings are the service's own.
type Settings struct {
	Workers  int   `help:"Batches mapped at once." default:"2"`
	Window   int   `help:"Messages in flight to the broker at once." default:"8"`
	MaxBatch int64 `help:"Bytes that a decoded batch may take." default:"268435456"`
	Programs int   `help:"Compiled mappings that are remembered." default:"256"`

	MaxColumns     int `help:"Columns that a query may select." default:"1000"`
	MaxPreviewRows int `help:"Rows of a preview." default:"1000"`

	EventsFrom  time.Time `help:"Earliest time of an event; rows with one before it are rejects." default:"1971-01-01T00:00:00Z"`
	EventsUntil time.Time `help:"Rows with an event time from this instant on are rejects." default:"9999-12-31T00:00:00Z"`
	// By the snapshot's instant, which travels with a batch: a row that is read again gets the same answer.
	EventsAhead time.Duration `help:"Rows whose event is further ahead of the instant that they were read at are rejects; 0: none." default:"1h"`
}

// until answers the last instant that an event of rows read at an instant may have; zero: any.
func (s Settings) until(read time.Time) time.Time {
	if s.EventsAhead <= 0 || read.Unix() <= 0 { // a source without an instant
		return time.Time{}
	}
	return read.Add(s.EventsAhead)
}

// limits answers what a mapping may ask for.
func (s Settings) limits() mapping.Limits {
	l := mapping.DefaultLimits()
	if s.MaxColumns > 0 {
		l.Columns = s.MaxColumns
	}
	if !s.EventsUntil.IsZero() {
		l.EventsFrom, l.EventsUntil = s.EventsFrom, s.EventsUntil
	}
	return l
}
