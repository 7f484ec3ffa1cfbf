package bus

import (
	"sync"
	"time"
)

// sayEvery is how often the same trouble is logged while it lasts.
const sayEvery = 30 * time.Second

// seldom keeps a trouble that repeats from filling the log.
type seldom struct {
	mu   sync.Mutex
	next time.Time
}

// now says whether the trouble is to be logged now.
func (s *seldom) now() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := time.Now()
	if t.Before(s.next) {
		return false
	}
	s.next = t.Add(sayEvery)
	return true
}
