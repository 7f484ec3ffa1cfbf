package rpc

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"millrace.dev/pkg/fault"
)

// Merge puts the fields of `from` that the mask names into `into`, both of one type. "*" names all but the fixed ones, and
// a message that holds fixed ones (`meta` with `meta.id`) means its other fields. A named field that is unset in `from` is
// cleared; lists, maps and messages are replaced whole, a path like `schedule.cron` changes one field of a message.
// `fixed` paths (ids, times, etags) may be named themselves only where both have the same value. Nothing is changed where
// the mask is empty or has faults, all of which are answered at once (INVALID_ARGUMENT).
func Merge(into, from proto.Message, mask *fieldmaskpb.FieldMask, fixed ...string) error {
	d, s := into.ProtoReflect(), from.ProtoReflect()
	if len(mask.GetPaths()) == 0 {
		return invalid("update_mask", "is empty", `name the fields to change, or "*"`)
	}
	var vs []fault.Violation
	var paths []string
	for _, p := range mask.GetPaths() {
		if p == "*" {
			paths = append(paths, free(d.Descriptor(), "", fixed)...)
			continue
		}
		f, message := descend(d.Descriptor(), p)
		switch {
		case message == "" && slices.ContainsFunc(fixed, func(x string) bool { return p == x || strings.HasPrefix(p, x+".") }):
			if !same(d, s, strings.Split(p, ".")) {
				message = p + " can not be changed"
			}
		case message == "" && holdsFixed(p, fixed):
			paths = append(paths, free(f.Message(), p+".", fixed)...)
		default:
			paths = append(paths, p)
		}
		if message != "" {
			vs = append(vs, fault.Violation{Field: "update_mask", Message: message, Fix: "name fields of " + string(d.Descriptor().Name()) + " that may change"})
		}
	}
	if len(vs) > 0 {
		return fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born here
	}
	for _, p := range paths {
		setPath(d, s, strings.Split(p, "."))
	}
	return nil
}

func holdsFixed(path string, fixed []string) bool {
	return slices.ContainsFunc(fixed, func(f string) bool { return strings.HasPrefix(f, path+".") })
}

// free answers the paths below prefix that are not fixed.
func free(d protoreflect.MessageDescriptor, prefix string, fixed []string) []string {
	var out []string
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		switch path := prefix + string(f.Name()); {
		case slices.Contains(fixed, path):
		case holdsFixed(path, fixed):
			out = append(out, free(f.Message(), path+".", fixed)...)
		default:
			out = append(out, path)
		}
	}
	return out
}

// descend answers the field that a path names, or what is wrong with the path.
func descend(d protoreflect.MessageDescriptor, path string) (f protoreflect.FieldDescriptor, message string) {
	for name := range strings.SplitSeq(path, ".") {
		if d == nil {
			return nil, path + " goes below a field that has no fields"
		}
		if f = d.Fields().ByName(protoreflect.Name(name)); f == nil {
			return nil, path + " is no field"
		}
		d = nil
		if f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() {
			d = f.Message()
		}
	}
	return f, ""
}

// same says whether both have one value at a path, which exists.
func same(a, b protoreflect.Message, path []string) bool {
	f := a.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	if len(path) > 1 {
		return same(a.Get(f).Message(), b.Get(f).Message(), path[1:])
	}
	return a.Get(f).Equal(b.Get(f))
}

// setPath copies one field. Both messages have it.
func setPath(d, s protoreflect.Message, path []string) {
	f := d.Descriptor().Fields().ByName(protoreflect.Name(path[0]))
	switch {
	case len(path) > 1 && (s.Has(f) || d.Has(f)):
		setPath(d.Mutable(f).Message(), s.Get(f).Message(), path[1:])
	case len(path) > 1:
	case !s.Has(f):
		d.Clear(f)
	default:
		d.Set(f, proto.Clone(s.Interface()).ProtoReflect().Get(f))
	}
}
