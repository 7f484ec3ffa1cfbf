package rpc

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"millrace.dev/pkg/fault"
)

// Merge puts the fields of `from` that the mask names into `into`, both of one type. "*" names all but the fixed ones. A
// named field that is unset in `from` is cleared; lists, maps and messages are replaced whole, a path like `schedule.cron`
// changes one field of a message. `fixed` fields (ids, times, etags) may be named only where both have the same value.
// Nothing is changed where the mask is empty or has faults, all of which are answered at once (INVALID_ARGUMENT).
func Merge(into, from proto.Message, mask *fieldmaskpb.FieldMask, fixed ...string) error {
	d, s := into.ProtoReflect(), from.ProtoReflect()
	paths := mask.GetPaths()
	if slices.Contains(paths, "*") {
		paths = allFields(d.Descriptor(), fixed)
	}
	if len(paths) == 0 {
		return invalid("update_mask", "is empty", `name the fields to change, or "*"`)
	}
	var vs []fault.Violation
	for _, p := range paths {
		if message := pathFault(d, s, p, fixed); message != "" {
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

func allFields(d protoreflect.MessageDescriptor, fixed []string) []string {
	var out []string
	for i := range d.Fields().Len() {
		if name := string(d.Fields().Get(i).Name()); !slices.Contains(fixed, name) {
			out = append(out, name)
		}
	}
	return out
}

// pathFault says what is wrong with a path, nothing where it is fine.
func pathFault(d, s protoreflect.Message, path string, fixed []string) string {
	desc := d.Descriptor()
	for i, name := range strings.Split(path, ".") {
		if desc == nil {
			return path + " goes below a field that has no fields"
		}
		f := desc.Fields().ByName(protoreflect.Name(name))
		if f == nil {
			return path + " is no field"
		}
		if i == 0 && slices.Contains(fixed, name) && !d.Get(f).Equal(s.Get(f)) {
			return path + " can not be changed"
		}
		desc = nil
		if f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() {
			desc = f.Message()
		}
	}
	return ""
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
