package gateway

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/rpc"
)

// query checks a query against the request that it is a part of, and answers it in the form that the generated code
// takes. What it does not know is refused. No value is in a violation.
func (rt route) query(values url.Values) (url.Values, []fault.Violation) {
	out := url.Values{}
	var faults []fault.Violation
	for _, name := range slices.Sorted(maps.Keys(values)) {
		field, plain, message, fix := rt.parameter(name, values[name])
		if message != "" {
			faults = append(faults, fault.Violation{Field: clip(name), Message: message, Fix: fix})
			continue
		}
		if _, twice := out[field]; twice {
			faults = append(faults, fault.Violation{Field: clip(name), Message: "is given twice, under both of its names", Fix: "keep one"})
			continue
		}
		out[field] = plain
	}
	return out, faults
}

// parameter answers one parameter of a query with the field's own name, or what is wrong with it.
func (rt route) parameter(name string, values []string) (field string, plain []string, message, fix string) {
	f, path := find(rt.method.Input(), name)
	switch {
	case f == nil:
		return "", nil, "is no parameter of " + rt.verb + " " + rt.path, "see " + documentPath
	case slices.Contains(rt.variables(), path):
		return "", nil, "is a part of the path", "leave it out of the query"
	case rt.body == "*", rt.body != "" && (path == rt.body || strings.HasPrefix(path, rt.body+".")):
		return "", nil, "belongs into the body", "leave it out of the query"
	case f.IsMap(), f.Message() != nil && !isText(f.Message()):
		return "", nil, "is an object", "name one of its fields, such as " + path + ".FIELD"
	case !f.IsList() && len(values) > 1:
		return "", nil, fmt.Sprintf("is given %d times", len(values)), "keep one"
	}
	for _, v := range values {
		p, message := plainValue(f, v)
		if message != "" {
			return "", nil, message, ""
		}
		plain = append(plain, p)
	}
	return path, plain, "", ""
}

// find answers the field that a name like identity.type leads to, and the name in the fields' own spelling.
func find(d protoreflect.MessageDescriptor, name string) (f protoreflect.FieldDescriptor, path string) {
	var names []string
	for part := range strings.SplitSeq(name, ".") {
		if f != nil {
			if f.Message() == nil || f.Cardinality() == protoreflect.Repeated || isText(f.Message()) {
				return nil, ""
			}
			d = f.Message()
		}
		if f = d.Fields().ByName(protoreflect.Name(part)); f == nil {
			if f = d.Fields().ByJSONName(part); f == nil {
				return nil, ""
			}
		}
		names = append(names, string(f.Name()))
	}
	return f, strings.Join(names, ".")
}

// isText says whether a message is written as one text.
func isText(d protoreflect.MessageDescriptor) bool {
	switch d.FullName() {
	case "google.protobuf.Timestamp", "google.protobuf.FieldMask":
		return true
	}
	return false
}

// plainValue answers a value as the generated code reads it, or what is wrong with it.
func plainValue(f protoreflect.FieldDescriptor, v string) (plain, message string) {
	var err error
	switch f.Kind() {
	case protoreflect.EnumKind:
		if e := rpc.EnumValue(f.Enum(), v); e != nil {
			return string(e.Name()), ""
		}
		return "", "is none of " + strings.Join(rpc.Words(f.Enum()), ", ")
	case protoreflect.MessageKind:
		if f.Message().Name() == "Timestamp" {
			_, err = time.Parse(time.RFC3339Nano, v)
		}
	case protoreflect.BoolKind:
		_, err = strconv.ParseBool(v)
	case protoreflect.Int32Kind:
		_, err = strconv.ParseInt(v, 10, 32)
	case protoreflect.Int64Kind:
		_, err = strconv.ParseInt(v, 10, 64)
	case protoreflect.Uint32Kind:
		_, err = strconv.ParseUint(v, 10, 32)
	case protoreflect.Uint64Kind:
		_, err = strconv.ParseUint(v, 10, 64)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		_, err = strconv.ParseFloat(v, 64)
	case protoreflect.StringKind:
		if !utf8.ValidString(v) {
			return "", "is no UTF-8"
		}
	}
	if err != nil {
		return "", "is no " + wants(f)
	}
	return v, ""
}

func wants(f protoreflect.FieldDescriptor) string {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return "instant by RFC 3339, such as 2026-01-31T09:00:00Z"
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "number"
	default:
		return "whole number in the range of " + f.Kind().String()
	}
}

// clip shortens a name that the caller made up.
func clip(name string) string {
	const most = 64
	if r := []rune(name); len(r) > most {
		return string(r[:most]) + "…"
	}
	return name
}
