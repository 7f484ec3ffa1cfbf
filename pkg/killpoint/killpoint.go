// Package killpoint ends the process as kill -9 does at a place that a test has named.
//
// It does so in builds with the tag killpoints only, which are made for tests; in all others Reach is nothing.
package killpoint

// Variable is the environment variable that names a point and which time it is reached, as in mapper.ack.before:3. Without a
// number it is the first time.
const Variable = "MILLRACE_KILL"

// Said stands on standard error before the name of the point at which the process ends.
const Said = "killpoint: the process ends at "
