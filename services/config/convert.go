package config

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
)

// message answers r as the API has it, secrets as they are in r.
func message(r resource.Resource) proto.Message {
	switch r := r.(type) {
	case *resource.Connection:
		return resourcepb.ToConnection(*r)
	case *resource.Feed:
		return resourcepb.ToFeed(*r)
	case *resource.DataModel:
		return resourcepb.ToDataModel(*r)
	case *resource.Mapping:
		return resourcepb.ToMapping(*r)
	case *resource.Sync:
		return resourcepb.ToSync(*r)
	case *resource.Alert:
		return resourcepb.ToAlert(*r)
	default:
		return nil
	}
}

// encode answers r as it is stored.
func encode(r resource.Resource) (string, error) {
	if c := secretsOf(r); c != nil {
		for _, f := range c.Secrets() {
			if f.Value.Plain != "" || f.Value.Kept {
				return "", fault.New(fault.Internal, fault.ReasonInternal, "%s of %s is not sealed", f.Name, keyOf(r))
			}
		}
	}
	return marshal(message(r))
}

func marshal(m proto.Message) (string, error) {
	data, err := protojson.Marshal(m)
	if err != nil {
		return "", fault.New(fault.Internal, fault.ReasonInternal, "encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return string(data), nil
}

// unmarshal reads what marshal wrote; fields that a newer program wrote are left out.
func unmarshal[M proto.Message](body string, m M) (M, error) {
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(body), m); err != nil {
		return m, fault.New(fault.Internal, fault.ReasonInternal, "a stored %s cannot be read: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return m, nil
}

// decode reads what encode wrote.
func decode(kind resource.Kind, body string) (resource.Resource, error) {
	switch kind {
	case resource.KindConnection:
		m, err := unmarshal(body, &configv1.Connection{})
		r := resourcepb.OfConnection(m)
		return &r, err
	case resource.KindFeed:
		m, err := unmarshal(body, &configv1.Feed{})
		r := resourcepb.OfFeed(m)
		return &r, err
	case resource.KindDataModel:
		m, err := unmarshal(body, &configv1.DataModel{})
		r := resourcepb.OfDataModel(m)
		return &r, err
	case resource.KindMapping:
		m, err := unmarshal(body, &configv1.Mapping{})
		r := resourcepb.OfMapping(m)
		return &r, err
	case resource.KindSync:
		m, err := unmarshal(body, &configv1.Sync{})
		r := resourcepb.OfSync(m)
		return &r, err
	case resource.KindAlert:
		m, err := unmarshal(body, &configv1.Alert{})
		r := resourcepb.OfAlert(m)
		return &r, err
	default:
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "unknown kind %q", kind)
	}
}

func encodeSnapshot(s resource.Snapshot) (string, error) { return marshal(resourcepb.ToSnapshot(s)) }

func decodeSnapshot(body string) (resource.Snapshot, error) {
	m, err := unmarshal(body, &configv1.SyncSnapshot{})
	return resourcepb.OfSnapshot(m), err
}

// clone answers a copy of r that shares nothing with it.
func clone(r resource.Resource) resource.Resource {
	switch r := r.(type) {
	case *resource.Connection:
		c := resourcepb.OfConnection(proto.CloneOf(resourcepb.ToConnection(*r)))
		return &c
	case *resource.Feed:
		c := resourcepb.OfFeed(proto.CloneOf(resourcepb.ToFeed(*r)))
		return &c
	case *resource.DataModel:
		c := resourcepb.OfDataModel(proto.CloneOf(resourcepb.ToDataModel(*r)))
		return &c
	case *resource.Mapping:
		c := resourcepb.OfMapping(proto.CloneOf(resourcepb.ToMapping(*r)))
		return &c
	case *resource.Sync:
		c := resourcepb.OfSync(proto.CloneOf(resourcepb.ToSync(*r)))
		return &c
	case *resource.Alert:
		c := resourcepb.OfAlert(proto.CloneOf(resourcepb.ToAlert(*r)))
		return &c
	default:
		return nil
	}
}

// given says whether callers set a field, and not the service.
func given(f protoreflect.FieldDescriptor) bool {
	output := []protoreflect.Name{"workspace", "uid", "etag", "create_time", "update_time", "created_by", "updated_by", "status", "status_reason", "status_next_step", "version"}
	return !slices.Contains(output, f.Name())
}

// strip removes what the service gives.
func strip(m protoreflect.Message) {
	for f := range m.Range {
		if !given(f) {
			m.Clear(f)
		}
	}
	if f := m.Descriptor().Fields().ByName("meta"); f != nil && m.Has(f) {
		strip(m.Mutable(f).Message())
	}
}

// essence answers what its owner set of r, in an order-free text; of credentials only that they are there.
func essence(r resource.Resource) string {
	m := message(hide(clone(r)))
	strip(m.ProtoReflect())
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return fmt.Sprintf("%p", m) // never equal
	}
	return string(data)
}

// differences answers the paths of the fields that their owner set differently in two resources of one kind, in the order
// of the API. Lists and maps count as one; credentials by their sealed bytes.
func differences(a, b resource.Resource) []string {
	x, y := message(a).ProtoReflect(), message(b).ProtoReflect()
	strip(x)
	strip(y)
	return diff(nil, "", x, y)
}

func diff(out []string, path string, a, b protoreflect.Message) []string {
	fields := a.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !a.Has(f) && !b.Has(f) || a.Has(f) == b.Has(f) && a.Get(f).Equal(b.Get(f)) {
			continue
		}
		at := string(f.Name())
		if path != "" {
			at = path + "." + at
		}
		if f.Name() == "meta" {
			at = ""
		}
		if descends(f) {
			out = diff(out, at, a.Get(f).Message(), b.Get(f).Message())
			continue
		}
		out = append(out, at)
	}
	return out
}

// descends says whether a field's own fields are told apart.
func descends(f protoreflect.FieldDescriptor) bool {
	if f.Kind() != protoreflect.MessageKind || f.IsList() || f.IsMap() || f.Message().ParentFile().Package() == "google.protobuf" {
		return false
	}
	return f.Message().Name() != "Secret" && f.Message().Name() != "Schedule"
}
