package protocol

import (
	"time"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/row"
	"millrace.dev/pkg/run"
)

// judge keeps what profile.Decide answered, by what it was asked.
type judge struct {
	known map[asked]decided
	rules profile.Rules
}

func newJudge() judge { return judge{known: map[asked]decided{}} }

// asked is what a decision depends on.
type asked struct {
	batch            batch
	old              entry
	retried, adopted uint8
	fence            uint8 // of the part of the old entry
}

type decided struct {
	entry  entry
	result uint8
}

// The result of a batch of one row as one number: 1 + its effect, and whether the row was a repeat within the run.
const collapsed = 1 << 4

// scope answers the data set of the model.
func scope() profile.Scope { return profile.Scope{Workspace: "w", Environment: resource.Prod} }

// decide answers what a batch changes, by the code.
func (w *World) decide(s *state, b *batch) decided {
	old := s.index[versions()[b.row-1].key]
	q := asked{batch: batch{run: b.run, part: b.part, epoch: b.epoch, seq: b.seq, row: b.row}, old: old, retried: s.run.retried, adopted: w.adopted(s)}
	if old.row > 0 && w.Broken != RecountBelowFence {
		q.fence = s.fences[old.run-1][old.part]
	}
	d, ok := w.judge.known[q]
	if !ok {
		d = w.ask(q)
		w.judge.known[q] = d
	}
	return d
}

// adopted answers the parts that the open run took over whole.
func (w *World) adopted(s *state) (out uint8) {
	for i := range s.run.parts[:s.run.n] {
		if p := s.part(uint8(i)); p.origin > 0 && !w.is(p, run.Replaced) { //nolint:gosec // few parts
			out |= 1 << i
		}
	}
	return out
}

func runID(no uint8) id.Run { return id.Run{no} }

// ask puts the question to profile.Decide.
func (w *World) ask(q asked) decided {
	o := record.Origin{
		Workspace: scope().Workspace, Sync: id.Sync{1}, SyncID: "s", RunNo: int64(q.batch.run), SnapshotTime: time.Unix(100, 0),
		Batch: id.Batch{Run: runID(q.batch.run), Part: uint32(q.batch.part), Epoch: uint32(q.batch.epoch), Seq: uint32(q.batch.seq)},
		Rows:  1, Last: true,
	}
	for no := uint8(1); no <= maxRuns; no++ {
		if q.retried&(1<<no) == 0 {
			continue
		}
		r := record.RetriedRun{RunNo: int64(no), Run: runID(no)}
		for p := range uint32(maxParts) {
			if q.adopted&(1<<p) != 0 {
				r.Adopted = append(r.Adopted, p)
			}
		}
		o.Retried = append(o.Retried, r)
	}
	b := w.source.batches[q.batch.row-1]
	k := profile.KeysOf(b, o, scope(), w.judge.rules)
	mine := id.Profile(1 + versions()[q.batch.row-1].key)
	st := profile.State{
		Entries: []profile.Entry{w.entry(q.old, mine)}, Profiles: [][]id.Profile{{0}}, Fresh: []id.Profile{mine},
		Fences: map[profile.RunPart]uint32{},
	}
	if q.old.row > 0 {
		st.Profiles[0][0], st.Fresh[0] = mine, 0
		st.Fences[profile.RunPart{RunNo: int64(q.old.run), Part: uint32(q.old.part)}] = uint32(q.fence)
	}
	e := profile.Decide(b, k, st, w.judge.rules)
	out := decided{entry: q.old, result: resultOf(e.Result.Counts)}
	if len(e.Entries) > 0 {
		x := e.Entries[0].Entry
		out.entry = entry{w.versionOf(x), uint8(x.Version.RunNo), uint8(x.Part), uint8(x.Epoch), uint8(x.Effect)} //nolint:gosec // small
	}
	return out
}

// entry answers an entry as the store would.
func (w *World) entry(e entry, mine id.Profile) profile.Entry {
	if e.row == 0 {
		return profile.Entry{}
	}
	b := w.source.batches[e.row-1]
	return profile.Entry{
		Found: true, RecordHash: row.FromBytes(profile.KeysOf(b, record.Origin{}, scope(), w.judge.rules).RecordHashes.Value(0)),
		Version: profile.Version{Time: time.Unix(versions()[e.row-1].at, 0).UnixNano(), RunNo: int64(e.run), RowHash: w.source.hashes[e.row-1]},
		Part:    uint32(e.part), Epoch: uint32(e.epoch), Effect: profile.Effect(e.effect), Profile: mine,
	}
}

func (w *World) versionOf(e profile.Entry) uint8 {
	for i, h := range w.source.hashes {
		if h == e.Version.RowHash {
			return uint8(i + 1)
		}
	}
	return 0
}

func resultOf(c record.Counts) uint8 {
	out := 1 + uint8(profile.Unchanged)
	switch {
	case c.Created > 0:
		out = 1 + uint8(profile.Created)
	case c.Updated > 0:
		out = 1 + uint8(profile.Updated)
	}
	if c.Collapsed > 0 {
		out |= collapsed
	}
	return out
}

func countsOf(result uint8) record.Counts {
	c := record.Counts{Read: 1, Mapped: 1}
	switch profile.Effect(result&^collapsed - 1) {
	case profile.Created:
		c.Created = 1
	case profile.Updated:
		c.Updated = 1
	default:
		c.Unchanged = 1
	}
	if result&collapsed != 0 {
		c.Collapsed = 1
	}
	return c
}

// account answers the batches of a part's epoch as the scheduler holds them.
func (w *World) account(p *part) []run.Batch {
	var out []run.Batch
	for seq := range partRows {
		b := run.Batch{Seq: uint32(seq)} //nolint:gosec // few
		if r := p.published[seq]; r > 0 {
			b, _ = b.Publish(1, 1, w.source.hashes[r-1])
		}
		if x := p.ingested[seq]; x > 0 {
			b, _ = b.Ingest(run.Fragment{Rows: 1, Last: true, Counts: countsOf(x / rowsBase), Digest: w.source.hashes[x%rowsBase-1]})
		}
		if b.Published || b.Coverage != nil {
			out = append(out, b)
		}
	}
	return out
}

// rowsBase puts the row of an ingested batch beside its result.
const rowsBase = maxRows + 1
