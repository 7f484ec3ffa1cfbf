package console

import (
	"errors"
	"io"

	"github.com/google/uuid"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	schedulerv1 "millrace.dev/gen/millrace/scheduler/v1"
	"millrace.dev/pkg/rpc"
)

// runSync starts a run, as the form says: what the schedule would read or everything, written or only judged.
func (c *Console) runSync(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	return c.trigger(r, &schedulerv1.TriggerRunRequest{Full: r.PostFormValue("read") == "everything", DryRun: r.PostFormValue("dry") != ""})
}

// resyncSync starts the run that reads everything anew and leads out of resync_required.
func (c *Console) resyncSync(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	return c.trigger(r, &schedulerv1.TriggerRunRequest{Resync: true})
}

// trigger starts a run by hand and leads to its page.
func (c *Console) trigger(r *request, req *schedulerv1.TriggerRunRequest) (view, error) {
	req.Workspace, req.Sync, req.Reason = r.workspace, r.PathValue("id"), schedulerv1.RunReason_RUN_REASON_MANUAL
	if req.IdempotencyKey = r.PostFormValue("key"); req.IdempotencyKey == "" {
		req.IdempotencyKey = uuid.NewString()
	}
	res, err := c.scheduler.TriggerRun(r.Context(), req)
	if err != nil {
		return c.syncView(r, err)
	}
	return after(r.path("runs", res.GetRun().GetId()), "started"), nil
}

func (c *Console) activateSync(r *request) (view, error) {
	_, err := c.config.ActivateSync(r.Context(), &configv1.ActivateSyncRequest{Workspace: r.workspace, Id: r.PathValue("id")})
	return c.turned(r, "activated", err)
}

func (c *Console) pauseSync(r *request) (view, error) {
	_, err := c.config.PauseSync(r.Context(), &configv1.PauseSyncRequest{Workspace: r.workspace, Id: r.PathValue("id")})
	return c.turned(r, "paused", err)
}

func (c *Console) resumeSync(r *request) (view, error) {
	_, err := c.config.ResumeSync(r.Context(), &configv1.ResumeSyncRequest{Workspace: r.workspace, Id: r.PathValue("id")})
	return c.turned(r, "resumed", err)
}

// turned leads back to the sync after its state was changed, or says why it was not.
func (c *Console) turned(r *request, word string, err error) (view, error) {
	if err != nil {
		return c.syncView(r, err)
	}
	return after(r.path("syncs", r.PathValue("id")), word), nil
}

// deletePage asks whether a sync is to be deleted, and what it brought with it.
type deletePage struct {
	Workspace string
	Sync      *configv1.Sync
	Remove    bool
	Effects   *ingestionv1.ImportEffects // nil until they are asked for
}

func (c *Console) askDeleteSync(r *request) (view, error) {
	s, err := c.sync(r.Context(), r.workspace, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p := deletePage{Workspace: r.workspace, Sync: s}
	if r.FormValue("preview") == "" {
		return deleteView(p, nil), nil
	}
	stream, err := c.ingestion.PreviewDeleteImport(r.Context(), &ingestionv1.PreviewDeleteImportRequest{Workspace: r.workspace, Sync: s.GetMeta().GetId()})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	p.Remove = true
	p.Effects, err = lastOf(stream.Recv)
	return deleteView(p, err), nil
}

func deleteView(p deletePage, failure error) view {
	return page{name: "sync_delete", title: "Delete " + p.Sync.GetMeta().GetDisplayName(), section: "syncs", data: p, failure: failure}
}

// deleteSync deletes a sync, and before it what it brought in, if that was asked for. Broken off between the two it can be
// asked for again.
func (c *Console) deleteSync(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	s, err := c.sync(r.Context(), r.workspace, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	p := deletePage{Workspace: r.workspace, Sync: s, Remove: r.PostFormValue("data") == "remove"}
	if err := c.removeSync(r, p); err != nil {
		return deleteView(p, err), nil
	}
	return after(r.path("syncs"), "deleted"), nil
}

func (c *Console) removeSync(r *request, p deletePage) error {
	id, etag := p.Sync.GetMeta().GetId(), r.PostFormValue("etag")
	if err := rpc.CheckEtag(etag, p.Sync.GetMeta().GetEtag()); err != nil {
		return err //nolint:wrapcheck // classified
	}
	if p.Remove {
		stream, err := c.ingestion.DeleteImport(r.Context(), &ingestionv1.DeleteImportRequest{Workspace: r.workspace, Sync: id})
		if err != nil {
			return err //nolint:wrapcheck // classified
		}
		if _, err := lastOf(stream.Recv); err != nil {
			return err
		}
	}
	_, err := c.config.DeleteSync(r.Context(), &configv1.DeleteSyncRequest{Workspace: r.workspace, Id: id, Etag: etag})
	return err //nolint:wrapcheck // classified
}

// lastOf answers the effects that the last message of a stream tells.
func lastOf[M interface {
	GetEffects() *ingestionv1.ImportEffects
}](recv func() (M, error)) (*ingestionv1.ImportEffects, error) {
	out := &ingestionv1.ImportEffects{}
	for {
		m, err := recv()
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, err
		}
		out = m.GetEffects()
	}
}
