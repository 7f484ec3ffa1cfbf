package profile

import (
	"bytes"
	"cmp"
)

// Compare orders two versions of one sync: in mode full by (run_no, time, row hash), else by (time, run_no, row hash).
func (v Version) Compare(o Version, full bool) int {
	byTime, byRun := cmp.Compare(v.Time, o.Time), cmp.Compare(v.RunNo, o.RunNo)
	if full {
		byTime, byRun = byRun, byTime
	}
	if byTime != 0 {
		return byTime
	}
	if byRun != 0 {
		return byRun
	}
	if c := cmp.Compare(v.RowHash.Hi, o.RowHash.Hi); c != 0 {
		return c
	}
	return cmp.Compare(v.RowHash.Lo, o.RowHash.Lo)
}

// compareOwn orders contributions of one sync. Where the sync's mode has changed between them, what a full read said
// stands for the instant of its snapshot.
func compareOwn(a, b *Provenance) int {
	if a.Full == b.Full {
		return a.Version.Compare(b.Version, a.Full)
	}
	v, w := a.Version, b.Version
	if a.Full {
		v.Time = a.Snapshot
	} else {
		w.Time = b.Snapshot
	}
	return v.Compare(w, false)
}

// compareBetween orders contributions of different syncs.
func compareBetween(a, b *Provenance) int {
	return cmp.Or(
		cmp.Compare(a.Version.Time, b.Version.Time),
		bytes.Compare(a.Sync[:], b.Sync[:]),
		a.Version.Compare(b.Version, false),
	)
}
