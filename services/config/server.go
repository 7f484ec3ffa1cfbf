package config

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/rpc"
)

// server answers calls.
type server struct {
	configv1.UnimplementedConfigServiceServer
	*Service
}

// Register adds the gRPC server.
func (s *Service) Register(r grpc.ServiceRegistrar) {
	configv1.RegisterConfigServiceServer(r, &server{Service: s})
}

// actorKey is the metadata in which a caller names who asks.
const actorKey = "millrace-actor"

const maxActor = 255

// actorOf answers who asks, as the caller says; empty where it does not.
func actorOf(ctx context.Context) string {
	for _, v := range metadata.ValueFromIncomingContext(ctx, actorKey) {
		if len(v) <= maxActor && utf8.ValidString(v) && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' }) {
			return v
		}
	}
	return ""
}

// workspaceOf answers the workspace that a request names.
func workspaceOf(r interface{ GetWorkspace() string }) (id.Workspace, error) {
	w := id.Workspace(r.GetWorkspace()).Or()
	if !resource.ValidID(string(w)) {
		return "", invalid("workspace", "ids match [a-z0-9_-]{1,64}", "cannot be a workspace")
	}
	return w, nil
}

func invalid(field, fix, message string) error {
	return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{Field: field, Message: message, Fix: fix}}) //nolint:wrapcheck // born classified
}

// kindOf is what the methods of one kind differ in. M is the message that carries the resource.
type kindOf[M proto.Message] struct {
	kind  resource.Kind
	of    func(M) resource.Resource
	check func(M) []fault.Violation // what `of` cannot hold; nil: nothing
}

// out answers r as callers may see it.
func (k kindOf[M]) out(r resource.Resource) M {
	m, _ := message(hide(r)).(M)
	return m
}

// read answers the resource of a request, normalized, and every rule that it breaks by itself.
func (k kindOf[M]) read(w id.Workspace, m M) (resource.Resource, []fault.Violation) {
	r := k.of(m)
	r.Head().Workspace = w
	r.Normalize()
	var out []fault.Violation
	said := map[string]bool{}
	if k.check != nil {
		for _, v := range k.check(m) {
			v.Kind, v.ID = string(k.kind), r.Head().ID
			out = append(out, v)
			said[v.Field] = true
		}
	}
	for _, v := range r.Validate() {
		if !said[v.Field] {
			out = append(out, v)
		}
	}
	return r, out
}

// create adds a resource.
func (k kindOf[M]) create(ctx context.Context, s *Service, req interface{ GetWorkspace() string }, m M) (M, error) {
	var none M
	w, err := workspaceOf(req)
	if err != nil {
		return none, err
	}
	r, vs := k.read(w, m)
	vs = append(vs, refuseSealed(r, nil)...)
	if len(vs) > 0 {
		return none, fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born classified
	}
	if sync, ok := r.(*resource.Sync); ok {
		sync.Status, sync.Reason, sync.NextStep = resource.Healthy, "", ""
	}
	if r, err = s.sealed(ctx, w, r); err != nil {
		return none, err
	}
	at := keyOf(r)
	var made resource.Resource
	_, err = s.must(ctx, change{workspace: w, actor: actorOf(ctx), plan: func(ctx context.Context, v *view) ([]fault.Violation, error) {
		old, err := v.before(ctx, at)
		if err != nil {
			return nil, err
		}
		if old != nil {
			return nil, fault.New(fault.Conflict, fault.ReasonAlreadyExists, "there is a %s already; choose another id, or update it", at)
		}
		made = clone(r)
		var kept []fault.Violation
		if c := secretsOf(made); c != nil {
			kept = keepSecrets(c, nil, nil)
		}
		return kept, v.put(ctx, made)
	}})
	if err != nil {
		return none, err
	}
	return k.out(made), nil
}

// sealed answers r with its credentials sealed.
func (s *Service) sealed(ctx context.Context, w id.Workspace, r resource.Resource) (resource.Resource, error) {
	c := secretsOf(r)
	if c == nil {
		return r, nil
	}
	out, _, err := s.seal(ctx, w, c)
	return out, err
}

// refuseSealed reports sealed credentials in a request: only what is stored already may come back.
func refuseSealed(r, old resource.Resource) []fault.Violation {
	var out []fault.Violation
	c, was := secretsOf(r), secretsOf(old)
	if c == nil {
		return nil
	}
	for _, f := range c.Secrets() {
		if len(f.Value.Sealed) > 0 && string(f.Value.Sealed) != string(storedSecret(was, f.Name)) {
			out = append(out, violation(keyOf(r), f.Name, "give it in plain text, or kept", "is sealed, which only snapshots are"))
		}
	}
	return out
}

// get answers a resource.
func (k kindOf[M]) get(ctx context.Context, s *Service, req interface {
	GetWorkspace() string
	GetId() string
},
) (M, error) {
	var none M
	w, err := workspaceOf(req)
	if err != nil {
		return none, err
	}
	r, _, err := load(ctx, s.db, w, key{k.kind, req.GetId()})
	if err != nil {
		return none, err
	}
	if r == nil {
		return none, notFound(key{k.kind, req.GetId()})
	}
	return k.out(r), nil
}

// listRequest is what every list request has.
type listRequest interface {
	GetWorkspace() string
	GetPageSize() int32
	GetPageToken() string
	GetFilter() string
	GetOrderBy() string
}

// list answers one page of resources.
func (k kindOf[M]) list(ctx context.Context, s *Service, req listRequest) ([]M, string, error) {
	w, err := workspaceOf(req)
	if err != nil {
		return nil, "", err
	}
	rs, next, err := s.list(ctx, query{w, k.kind, req.GetPageSize(), req.GetPageToken(), req.GetFilter(), req.GetOrderBy()})
	if err != nil {
		return nil, "", err
	}
	out := make([]M, len(rs))
	for i, r := range rs {
		out[i] = k.out(r)
	}
	return out, next, nil
}

// update changes the fields of a resource that the mask names. "*" names all; credentials that it leaves out are kept.
func (k kindOf[M]) update(ctx context.Context, s *Service, req interface{ GetWorkspace() string }, m M, mask *fieldmaskpb.FieldMask) (M, error) {
	var none M
	w, err := workspaceOf(req)
	if err != nil {
		return none, err
	}
	sent := k.of(m)
	at := key{k.kind, sent.Head().ID}
	old, _, err := load(ctx, s.db, w, at)
	if err == nil && old == nil {
		err = notFound(at)
	}
	if err == nil {
		err = rpc.CheckEtag(sent.Head().Etag, old.Head().Etag)
	}
	if err != nil {
		return none, err
	}
	merged, err := k.merge(old, m, mask)
	if err != nil {
		return none, err
	}
	next, vs := k.read(w, merged)
	vs = append(vs, refuseSealed(next, old)...)
	if c := secretsOf(next); c != nil && len(vs) == 0 {
		vs = append(vs, keepSecrets(c, secretsOf(old), mask.GetPaths())...)
		vs = append(vs, refuseMoved(c, c, secretsOf(old))...)
	}
	if len(vs) > 0 {
		return none, fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born classified
	}
	if next, err = s.sealed(ctx, w, next); err != nil {
		return none, err
	}
	var made resource.Resource
	_, err = s.must(ctx, change{workspace: w, actor: actorOf(ctx), plan: func(ctx context.Context, v *view) ([]fault.Violation, error) {
		now, err := v.must(ctx, at)
		if err != nil {
			return nil, err
		}
		if err := rpc.CheckEtag(sent.Head().Etag, now.Head().Etag); err != nil {
			return nil, err //nolint:wrapcheck // classified by rpc
		}
		made = clone(next)
		return nil, v.put(ctx, made)
	}})
	if err != nil {
		return none, err
	}
	return k.out(made), nil
}

// merge answers the stored message with the fields of another that the mask names.
func (k kindOf[M]) merge(old resource.Resource, m M, mask *fieldmaskpb.FieldMask) (M, error) {
	into, _ := message(clone(old)).(M)
	fixed := fixedFields(into.ProtoReflect().Descriptor())
	var vs []fault.Violation
	for _, p := range mask.GetPaths() {
		if rest, ok := strings.CutPrefix(p, "meta."); ok && rest != "display_name" && rest != "labels" {
			vs = append(vs, fault.Violation{Field: "update_mask", Message: p + " can not be changed", Fix: "of meta, name display_name and labels"})
		}
	}
	if len(vs) > 0 {
		return into, fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born classified
	}
	if err := rpc.Merge(into, m, mask, fixed...); err != nil {
		return into, err //nolint:wrapcheck // classified by rpc
	}
	return into, nil
}

// fixedFields answers the fields that the service gives.
func fixedFields(d protoreflect.MessageDescriptor) []string {
	var out []string
	for i := range d.Fields().Len() {
		if f := d.Fields().Get(i); !given(f) {
			out = append(out, string(f.Name()))
		}
	}
	return out
}

// remove deletes a resource that nothing uses. Without an etag, whatever its state.
func (k kindOf[M]) remove(ctx context.Context, s *Service, req interface {
	GetWorkspace() string
	GetId() string
	GetEtag() string
},
) error {
	w, err := workspaceOf(req)
	if err != nil {
		return err
	}
	at := key{k.kind, req.GetId()}
	_, err = s.must(ctx, change{workspace: w, actor: actorOf(ctx), checks: checkNone, plan: func(ctx context.Context, v *view) ([]fault.Violation, error) {
		r, err := v.must(ctx, at)
		if err != nil {
			return nil, err
		}
		if req.GetEtag() != "" {
			if err := rpc.CheckEtag(req.GetEtag(), r.Head().Etag); err != nil {
				return nil, err //nolint:wrapcheck // classified by rpc
			}
		}
		users, err := v.users(ctx, at)
		if err != nil {
			return nil, err
		}
		users = slices.DeleteFunc(users, func(u key) bool { return u == at })
		if len(users) > 0 && !isBuiltIn(at) {
			return nil, fault.New(fault.Precondition, fault.ReasonInUse, "%s is used by %s; delete them first, or let them name another", at, names(users))
		}
		v.remove(at)
		return nil, nil
	}})
	return err
}
