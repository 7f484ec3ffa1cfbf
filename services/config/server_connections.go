package config

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

func connectionKind() kindOf[*configv1.Connection] {
	return kindOf[*configv1.Connection]{kind: resource.KindConnection, of: func(m *configv1.Connection) resource.Resource {
		r := resourcepb.OfConnection(m)
		return &r
	}, check: resourcepb.CheckConnection}
}

// CreateConnection adds a connection.
func (s *server) CreateConnection(ctx context.Context, r *configv1.CreateConnectionRequest) (*configv1.CreateConnectionResponse, error) {
	m, err := connectionKind().create(ctx, s.Service, r, r.GetConnection())
	if err != nil {
		return nil, err
	}
	return &configv1.CreateConnectionResponse{Connection: m}, nil
}

// GetConnection answers a connection.
func (s *server) GetConnection(ctx context.Context, r *configv1.GetConnectionRequest) (*configv1.GetConnectionResponse, error) {
	m, err := connectionKind().get(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.GetConnectionResponse{Connection: m}, nil
}

// ListConnections answers one page of connections.
func (s *server) ListConnections(ctx context.Context, r *configv1.ListConnectionsRequest) (*configv1.ListConnectionsResponse, error) {
	ms, next, err := connectionKind().list(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.ListConnectionsResponse{Connections: ms, NextPageToken: next}, nil
}

// UpdateConnection changes the fields of a connection that the mask names.
func (s *server) UpdateConnection(ctx context.Context, r *configv1.UpdateConnectionRequest) (*configv1.UpdateConnectionResponse, error) {
	m, err := connectionKind().update(ctx, s.Service, r, r.GetConnection(), r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	return &configv1.UpdateConnectionResponse{Connection: m}, nil
}

// DeleteConnection deletes a connection that nothing uses.
func (s *server) DeleteConnection(ctx context.Context, r *configv1.DeleteConnectionRequest) (*configv1.DeleteConnectionResponse, error) {
	if err := connectionKind().remove(ctx, s.Service, r); err != nil {
		return nil, err
	}
	return &configv1.DeleteConnectionResponse{}, nil
}
