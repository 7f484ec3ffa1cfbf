package run

import (
	"math"
	"time"
)

// Pace measures rows per second, newer rows counting more. The zero value has seen nothing. It is for one goroutine.
type Pace struct {
	rate float64
	rows int64
	at   time.Time
}

// smoothing is the age at which an observation counts a third; steps below shortest are put together.
const (
	smoothing = 5 * time.Second
	shortest  = 200 * time.Millisecond
)

// Observe takes how many rows are done at an instant. Observations come in the order of time.
func (p *Pace) Observe(rows int64, at time.Time) {
	dt := at.Sub(p.at)
	switch {
	case p.at.IsZero():
	case dt < shortest:
		return
	default:
		rate := max(0, float64(rows-p.rows)) / dt.Seconds()
		weight := 1 - math.Exp(-dt.Seconds()/smoothing.Seconds())
		if p.rate == 0 {
			weight = 1
		}
		p.rate += weight * (rate - p.rate)
	}
	p.rows, p.at = rows, at
}

// Rate answers rows per second; 0 before there are two observations.
func (p *Pace) Rate() float64 { return p.rate }

// TimeLeft answers how long rows take at a rate, to the second, and false where nobody can know.
func TimeLeft(rows int64, rate float64) (time.Duration, bool) {
	if rows <= 0 || rate < 1 {
		return 0, false
	}
	return time.Duration(float64(rows) / rate * float64(time.Second)).Round(time.Second), true
}
