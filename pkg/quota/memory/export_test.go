package memory

// Keys answers how many keys are held.
func (l *Limiter) Keys() int { return len(l.taken) }
