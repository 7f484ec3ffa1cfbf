package bigquery

import (
	"fmt"
	"strconv"
	"strings"

	"millrace.dev/pkg/source"
)

// snapshot names a result that BigQuery keeps, by the streams of a read session over it. It is the same for all parts.
type snapshot struct {
	session string   // projects/…/locations/…/sessions/…
	streams []string // the last parts of their names
}

const sessionPrefix = "session "

// snapshotOf answers what parts are told of a session's streams.
func snapshotOf(session string, streams []string) (snapshot, error) {
	out := snapshot{session: session}
	for _, name := range streams {
		id, ok := strings.CutPrefix(name, session+"/streams/")
		if !ok || strings.ContainsAny(id, "/, ") || strings.Contains(session, " ") {
			return snapshot{}, unreadable("a read session")
		}
		out.streams = append(out.streams, id)
	}
	return out, nil
}

// String answers the text that a plan carries.
func (s snapshot) String() string {
	return sessionPrefix + s.session + " streams " + strings.Join(s.streams, ",")
}

// parseSnapshot reads what String wrote. Anything else is SOURCE_CHANGED: the run is planned again.
func parseSnapshot(text string) (snapshot, error) {
	w := strings.Split(text, " ")
	if len(w) != 4 || w[0]+" " != sessionPrefix || w[2] != "streams" {
		return snapshot{}, gone()
	}
	out := snapshot{session: w[1]}
	if w[3] != "" {
		out.streams = strings.Split(w[3], ",")
	}
	return out, nil
}

// units answers the parts of the snapshot: a stream each, or one without any where there are no rows.
func (s snapshot) units() []source.Range {
	n := max(1, len(s.streams))
	out := make([]source.Range, n)
	for i := range out {
		out[i].Unit = fmt.Sprintf("stream %d of %d of BigQuery", i+1, n)
	}
	return out
}

// stream answers the name of a part's stream, "" where it has none. A unit that is none of the snapshot's is
// SOURCE_CHANGED.
func (s snapshot) stream(unit string) (string, error) {
	w := strings.Split(unit, " ")
	if len(w) != 6 || w[0] != "stream" || w[2] != "of" || w[4] != "of" || w[5] != "BigQuery" {
		return "", gone()
	}
	i, err := strconv.Atoi(w[1])
	if err != nil || w[3] != strconv.Itoa(max(1, len(s.streams))) || i < 1 || i > max(1, len(s.streams)) {
		return "", gone()
	}
	if len(s.streams) == 0 {
		return "", nil
	}
	return s.session + "/streams/" + s.streams[i-1], nil
}
