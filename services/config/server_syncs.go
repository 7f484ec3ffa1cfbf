package config

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

func syncKind() kindOf[*configv1.Sync] {
	return kindOf[*configv1.Sync]{kind: resource.KindSync, of: func(m *configv1.Sync) resource.Resource {
		r := resourcepb.OfSync(m)
		return &r
	}, check: resourcepb.CheckSync}
}

// CreateSync adds a sync.
func (s *server) CreateSync(ctx context.Context, r *configv1.CreateSyncRequest) (*configv1.CreateSyncResponse, error) {
	m, err := syncKind().create(ctx, s.Service, r, r.GetSync())
	if err != nil {
		return nil, err
	}
	return &configv1.CreateSyncResponse{Sync: m}, nil
}

// GetSync answers a sync.
func (s *server) GetSync(ctx context.Context, r *configv1.GetSyncRequest) (*configv1.GetSyncResponse, error) {
	m, err := syncKind().get(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.GetSyncResponse{Sync: m}, nil
}

// ListSyncs answers one page of syncs.
func (s *server) ListSyncs(ctx context.Context, r *configv1.ListSyncsRequest) (*configv1.ListSyncsResponse, error) {
	ms, next, err := syncKind().list(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.ListSyncsResponse{Syncs: ms, NextPageToken: next}, nil
}

// UpdateSync changes the fields of a sync that the mask names.
func (s *server) UpdateSync(ctx context.Context, r *configv1.UpdateSyncRequest) (*configv1.UpdateSyncResponse, error) {
	m, err := syncKind().update(ctx, s.Service, r, r.GetSync(), r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	return &configv1.UpdateSyncResponse{Sync: m}, nil
}

// DeleteSync deletes a sync that nothing uses.
func (s *server) DeleteSync(ctx context.Context, r *configv1.DeleteSyncRequest) (*configv1.DeleteSyncResponse, error) {
	if err := syncKind().remove(ctx, s.Service, r); err != nil {
		return nil, err
	}
	return &configv1.DeleteSyncResponse{}, nil
}
