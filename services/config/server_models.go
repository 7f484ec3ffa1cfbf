package config

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

func modelKind() kindOf[*configv1.DataModel] {
	return kindOf[*configv1.DataModel]{kind: resource.KindDataModel, of: func(m *configv1.DataModel) resource.Resource {
		r := resourcepb.OfDataModel(m)
		return &r
	}, check: resourcepb.CheckDataModel}
}

// CreateDataModel adds a data model.
func (s *server) CreateDataModel(ctx context.Context, r *configv1.CreateDataModelRequest) (*configv1.CreateDataModelResponse, error) {
	m, err := modelKind().create(ctx, s.Service, r, r.GetDataModel())
	if err != nil {
		return nil, err
	}
	return &configv1.CreateDataModelResponse{DataModel: m}, nil
}

// GetDataModel answers a data model.
func (s *server) GetDataModel(ctx context.Context, r *configv1.GetDataModelRequest) (*configv1.GetDataModelResponse, error) {
	m, err := modelKind().get(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.GetDataModelResponse{DataModel: m}, nil
}

// ListDataModels answers one page of data models.
func (s *server) ListDataModels(ctx context.Context, r *configv1.ListDataModelsRequest) (*configv1.ListDataModelsResponse, error) {
	ms, next, err := modelKind().list(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.ListDataModelsResponse{DataModels: ms, NextPageToken: next}, nil
}

// UpdateDataModel changes the fields of a data model that the mask names.
func (s *server) UpdateDataModel(ctx context.Context, r *configv1.UpdateDataModelRequest) (*configv1.UpdateDataModelResponse, error) {
	m, err := modelKind().update(ctx, s.Service, r, r.GetDataModel(), r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	return &configv1.UpdateDataModelResponse{DataModel: m}, nil
}

// DeleteDataModel deletes a data model that nothing uses.
func (s *server) DeleteDataModel(ctx context.Context, r *configv1.DeleteDataModelRequest) (*configv1.DeleteDataModelResponse, error) {
	if err := modelKind().remove(ctx, s.Service, r); err != nil {
		return nil, err
	}
	return &configv1.DeleteDataModelResponse{}, nil
}
