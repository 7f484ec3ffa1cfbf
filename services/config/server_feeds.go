package config

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

func feedKind() kindOf[*configv1.Feed] {
	return kindOf[*configv1.Feed]{kind: resource.KindFeed, of: func(m *configv1.Feed) resource.Resource {
		r := resourcepb.OfFeed(m)
		return &r
	}}
}

// CreateFeed adds a feed.
func (s *server) CreateFeed(ctx context.Context, r *configv1.CreateFeedRequest) (*configv1.CreateFeedResponse, error) {
	m, err := feedKind().create(ctx, s.Service, r, r.GetFeed())
	if err != nil {
		return nil, err
	}
	return &configv1.CreateFeedResponse{Feed: m}, nil
}

// GetFeed answers a feed.
func (s *server) GetFeed(ctx context.Context, r *configv1.GetFeedRequest) (*configv1.GetFeedResponse, error) {
	m, err := feedKind().get(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.GetFeedResponse{Feed: m}, nil
}

// ListFeeds answers one page of feeds.
func (s *server) ListFeeds(ctx context.Context, r *configv1.ListFeedsRequest) (*configv1.ListFeedsResponse, error) {
	ms, next, err := feedKind().list(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.ListFeedsResponse{Feeds: ms, NextPageToken: next}, nil
}

// UpdateFeed changes the fields of a feed that the mask names.
func (s *server) UpdateFeed(ctx context.Context, r *configv1.UpdateFeedRequest) (*configv1.UpdateFeedResponse, error) {
	m, err := feedKind().update(ctx, s.Service, r, r.GetFeed(), r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	return &configv1.UpdateFeedResponse{Feed: m}, nil
}

// DeleteFeed deletes a feed that nothing uses.
func (s *server) DeleteFeed(ctx context.Context, r *configv1.DeleteFeedRequest) (*configv1.DeleteFeedResponse, error) {
	if err := feedKind().remove(ctx, s.Service, r); err != nil {
		return nil, err
	}
	return &configv1.DeleteFeedResponse{}, nil
}
