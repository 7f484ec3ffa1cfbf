package wire

import (
	"encoding/json"
	"time"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/record"
)

// header is the origin as an envelope carries it.
type header struct {
	Workspace    string    `json:"workspace"`
	Sync         string    `json:"sync"`
	SyncID       string    `json:"sync_id"`
	SyncVersion  int64     `json:"sync_version"`
	RunNo        int64     `json:"run_no"`
	ReadRunNo    int64     `json:"read_run_no,omitempty"`
	Batch        string    `json:"batch"`
	Retried      []retried `json:"retried,omitempty"`
	Full         bool      `json:"full,omitempty"`
	Mirror       bool      `json:"mirror,omitempty"`
	Sights       bool      `json:"sights,omitempty"`
	Dry          bool      `json:"dry,omitempty"`
	SnapshotTime int64     `json:"snapshot_time"`
	PayloadCap   int64     `json:"payload_cap"`
	FirstRow     int64     `json:"first_row"`
	Rows         int64     `json:"rows"`
	Last         bool      `json:"last"`
	Model        string    `json:"model,omitempty"`
	Provider     string    `json:"provider,omitempty"`
}

type retried struct {
	RunNo   int64    `json:"run_no"`
	Run     string   `json:"run"`
	Adopted []uint32 `json:"adopted,omitempty"`
}

func toHeader(o record.Origin) header {
	h := header{
		Workspace: string(o.Workspace), Sync: o.Sync.String(), SyncID: o.SyncID, SyncVersion: o.SyncVersion,
		RunNo: o.RunNo, ReadRunNo: o.ReadRunNo, Batch: o.Batch.String(), Full: o.Full, Mirror: o.Mirror, Sights: o.Sights, Dry: o.Dry, SnapshotTime: o.SnapshotTime.UnixNano(),
		PayloadCap: o.PayloadCap, FirstRow: o.FirstRow, Rows: o.Rows, Last: o.Last, Model: o.Model, Provider: o.Provider,
	}
	for _, r := range o.Retried {
		h.Retried = append(h.Retried, retried{r.RunNo, r.Run.String(), r.Adopted})
	}
	return h
}

func origin(b []byte) (record.Origin, error) {
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return record.Origin{}, bad("has an origin that cannot be read")
	}
	sync, err := id.ParseSync(h.Sync)
	if err != nil {
		return record.Origin{}, bad("names no sync")
	}
	batch, err := id.ParseBatch(h.Batch)
	if err != nil {
		return record.Origin{}, bad("has no name")
	}
	o := record.Origin{
		Workspace: id.Workspace(h.Workspace), Sync: sync, SyncID: h.SyncID, SyncVersion: h.SyncVersion, RunNo: h.RunNo,
		ReadRunNo: h.ReadRunNo, Batch: batch, Full: h.Full, Mirror: h.Mirror, Sights: h.Sights, Dry: h.Dry, SnapshotTime: time.Unix(0, h.SnapshotTime).UTC(), PayloadCap: h.PayloadCap,
		FirstRow: h.FirstRow, Rows: h.Rows, Last: h.Last, Model: h.Model, Provider: h.Provider,
	}
	for _, r := range h.Retried {
		run, err := id.ParseRun(r.Run)
		if err != nil {
			return record.Origin{}, bad("names no run that it retries")
		}
		o.Retried = append(o.Retried, record.RetriedRun{RunNo: r.RunNo, Run: run, Adopted: r.Adopted})
	}
	return o, nil
}
