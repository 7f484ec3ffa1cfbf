package trace

import (
	"context"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/rpc"
)

// api is the TraceService.
type api struct {
	tracev1.UnimplementedTraceServiceServer
	*Service
}

// Register adds the gRPC servers.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	tracev1.RegisterTraceServiceServer(r, &api{Service: s})
	collector.RegisterTraceServiceServer(r, &receiver{Service: s})
}

// workspaceOf answers the workspace that a request names.
func workspaceOf(r interface{ GetWorkspace() string }) (string, error) {
	w := string(id.Workspace(r.GetWorkspace()).Or())
	if !resource.ValidID(w) {
		return "", invalid(fault.Violation{Field: "workspace", Message: "cannot be a workspace", Fix: "ids match [a-z0-9_-]{1,64}"})
	}
	return w, nil
}

func invalid(vs ...fault.Violation) error {
	return fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born classified
}

func (a *api) CreateTraceConfig(ctx context.Context, req *tracev1.CreateTraceConfigRequest) (*tracev1.CreateTraceConfigResponse, error) {
	w, err := workspaceOf(req)
	if err != nil {
		return nil, err
	}
	c := ofConfig(req.GetConfig())
	if vs := c.validate(); len(vs) > 0 {
		return nil, invalid(vs...)
	}
	if c, err = a.create(ctx, w, c); err != nil {
		return nil, err
	}
	return &tracev1.CreateTraceConfigResponse{Config: toConfig(c)}, nil
}

func (a *api) ListTraceConfigs(ctx context.Context, req *tracev1.ListTraceConfigsRequest) (*tracev1.ListTraceConfigsResponse, error) {
	w, err := workspaceOf(req)
	if err != nil {
		return nil, err
	}
	page, err := rpc.NewPage(req.GetPageSize(), req.GetPageToken(), w)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by rpc
	}
	db, err := a.database()
	if err != nil {
		return nil, err
	}
	found, err := configsOf(ctx, db, w, page.After, page.Size+1)
	if err != nil {
		return nil, err
	}
	out := &tracev1.ListTraceConfigsResponse{}
	if len(found) > page.Size {
		found = found[:page.Size]
		out.NextPageToken = page.Next(found[page.Size-1].ID)
	}
	for _, c := range found {
		out.Configs = append(out.Configs, toConfig(c))
	}
	return out, nil
}

func (a *api) DeleteTraceConfig(ctx context.Context, req *tracev1.DeleteTraceConfigRequest) (*tracev1.DeleteTraceConfigResponse, error) {
	w, err := workspaceOf(req)
	if err != nil {
		return nil, err
	}
	return &tracev1.DeleteTraceConfigResponse{}, a.remove(ctx, w, req.GetId())
}

func (a *api) ListTraces(ctx context.Context, req *tracev1.ListTracesRequest) (*tracev1.ListTracesResponse, error) {
	w, err := workspaceOf(req)
	if err != nil {
		return nil, err
	}
	found, next, err := a.list(ctx, query{
		workspace: w, size: req.GetPageSize(), token: req.GetPageToken(), filter: req.GetFilter(), orderBy: req.GetOrderBy(),
		from: ofTime(req.GetFrom()), until: ofTime(req.GetUntil()),
	})
	if err != nil {
		return nil, err
	}
	out := &tracev1.ListTracesResponse{NextPageToken: next}
	for _, t := range found {
		out.Traces = append(out.Traces, toTrace(t))
	}
	return out, nil
}

func (a *api) GetTrace(ctx context.Context, req *tracev1.GetTraceRequest) (*tracev1.GetTraceResponse, error) {
	w, err := workspaceOf(req)
	if err != nil {
		return nil, err
	}
	t, spans, err := a.get(ctx, w, req.GetTraceId())
	if err != nil {
		return nil, err
	}
	out := &tracev1.GetTraceResponse{Trace: toTrace(t)}
	for i := range spans {
		s, err := toSpan(&spans[i])
		if err != nil {
			return nil, err
		}
		out.Spans = append(out.Spans, s)
	}
	return out, nil
}
