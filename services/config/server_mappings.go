package config

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

func mappingKind() kindOf[*configv1.Mapping] {
	return kindOf[*configv1.Mapping]{kind: resource.KindMapping, of: func(m *configv1.Mapping) resource.Resource {
		r := resourcepb.OfMapping(m)
		return &r
	}}
}

// CreateMapping adds a mapping.
func (s *server) CreateMapping(ctx context.Context, r *configv1.CreateMappingRequest) (*configv1.CreateMappingResponse, error) {
	m, err := mappingKind().create(ctx, s.Service, r, r.GetMapping())
	if err != nil {
		return nil, err
	}
	return &configv1.CreateMappingResponse{Mapping: m}, nil
}

// GetMapping answers a mapping.
func (s *server) GetMapping(ctx context.Context, r *configv1.GetMappingRequest) (*configv1.GetMappingResponse, error) {
	m, err := mappingKind().get(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.GetMappingResponse{Mapping: m}, nil
}

// ListMappings answers one page of mappings.
func (s *server) ListMappings(ctx context.Context, r *configv1.ListMappingsRequest) (*configv1.ListMappingsResponse, error) {
	ms, next, err := mappingKind().list(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.ListMappingsResponse{Mappings: ms, NextPageToken: next}, nil
}

// UpdateMapping changes the fields of a mapping that the mask names.
func (s *server) UpdateMapping(ctx context.Context, r *configv1.UpdateMappingRequest) (*configv1.UpdateMappingResponse, error) {
	m, err := mappingKind().update(ctx, s.Service, r, r.GetMapping(), r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	return &configv1.UpdateMappingResponse{Mapping: m}, nil
}

// DeleteMapping deletes a mapping that nothing uses.
func (s *server) DeleteMapping(ctx context.Context, r *configv1.DeleteMappingRequest) (*configv1.DeleteMappingResponse, error) {
	if err := mappingKind().remove(ctx, s.Service, r); err != nil {
		return nil, err
	}
	return &configv1.DeleteMappingResponse{}, nil
}
