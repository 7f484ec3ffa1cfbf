package config

import (
	"context"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/rpc"
)

func alertKind() kindOf[*configv1.Alert] {
	return kindOf[*configv1.Alert]{kind: resource.KindAlert, of: func(m *configv1.Alert) resource.Resource {
		r := resourcepb.OfAlert(m)
		return &r
	}}
}

// CreateAlert adds an alert.
func (s *server) CreateAlert(ctx context.Context, r *configv1.CreateAlertRequest) (*configv1.CreateAlertResponse, error) {
	m, err := alertKind().create(ctx, s.Service, r, r.GetAlert())
	if err != nil {
		return nil, err
	}
	return &configv1.CreateAlertResponse{Alert: m}, nil
}

// GetAlert answers an alert.
func (s *server) GetAlert(ctx context.Context, r *configv1.GetAlertRequest) (*configv1.GetAlertResponse, error) {
	m, err := alertKind().get(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.GetAlertResponse{Alert: m}, nil
}

// ListAlerts answers one page of alerts.
func (s *server) ListAlerts(ctx context.Context, r *configv1.ListAlertsRequest) (*configv1.ListAlertsResponse, error) {
	ms, next, err := alertKind().list(ctx, s.Service, r)
	if err != nil {
		return nil, err
	}
	return &configv1.ListAlertsResponse{Alerts: ms, NextPageToken: next}, nil
}

// UpdateAlert changes the fields of an alert that the mask names.
func (s *server) UpdateAlert(ctx context.Context, r *configv1.UpdateAlertRequest) (*configv1.UpdateAlertResponse, error) {
	m, err := alertKind().update(ctx, s.Service, r, r.GetAlert(), r.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	return &configv1.UpdateAlertResponse{Alert: m}, nil
}

// DeleteAlert deletes an alert.
func (s *server) DeleteAlert(ctx context.Context, r *configv1.DeleteAlertRequest) (*configv1.DeleteAlertResponse, error) {
	if err := alertKind().remove(ctx, s.Service, r); err != nil {
		return nil, err
	}
	return &configv1.DeleteAlertResponse{}, nil
}

// ListSealedAlerts answers the alerts of all workspaces, or of one, with their secrets sealed.
func (s *server) ListSealedAlerts(ctx context.Context, r *configv1.ListSealedAlertsRequest) (*configv1.ListSealedAlertsResponse, error) {
	page, err := rpc.NewPage(r.GetPageSize(), r.GetPageToken(), "alerts", r.GetWorkspace())
	if err != nil {
		return nil, err
	}
	alerts, err := s.alerts(ctx, id.Workspace(r.GetWorkspace()), page.After, page.Size+1)
	if err != nil {
		return nil, err
	}
	out := &configv1.ListSealedAlertsResponse{}
	if len(alerts) > page.Size {
		alerts = alerts[:page.Size]
		out.NextPageToken = page.Next(placeOf(alerts[page.Size-1]))
	}
	for _, a := range alerts {
		out.Alerts = append(out.Alerts, resourcepb.ToAlert(*a))
	}
	return out, nil
}
