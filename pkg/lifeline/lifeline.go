// Package lifeline dials TCP connections that end when their other end is gone without a word: a cable that is pulled, a
// machine that is cut off, a router that swallows packets. By itself TCP waits for a quarter of an hour or for ever.
package lifeline

import (
	"net"
	"time"
)

const (
	// Silence is how long what was sent may stay unacknowledged before the connection ends.
	Silence = 20 * time.Second
	// connect bounds the making of a connection.
	connect = 10 * time.Second
	// quiet is how long a connection rests before it is asked whether the other end is there; it is asked every `again`, and
	// ends after `asks` without an answer.
	quiet = 10 * time.Second
	again = 5 * time.Second
	asks  = 3
)

// Dialer answers a dialer of such connections.
func Dialer() *net.Dialer {
	return &net.Dialer{
		Timeout:         connect,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: quiet, Interval: again, Count: asks},
		Control:         bound,
	}
}
