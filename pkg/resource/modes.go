package resource

// refused answers what to do instead where a mode and a record kind do not go together, with the reason; else nothing
// (decisions: Modes, kinds, schedules).
func refused(m Mode, k RecordKind) string {
	switch {
	case k == Lookup && m == Incremental:
		return "use full or mirror: a lookup table is replaced as a whole, a window of it would leave the rest out of date"
	case k == ProfileHistory && m != Mirror:
		return "use mirror: a version of a history ends where the next one begins, so that all of them must be known"
	}
	return ""
}
