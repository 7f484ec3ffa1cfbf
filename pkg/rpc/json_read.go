package rpc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"millrace.dev/pkg/fault"
)

// documentName stands for the document in violations.
const documentName = "body"

// maxViolations bounds how many faults of one document are told.
const maxViolations = 100

// UnmarshalJSON reads the JSON form of the documentation into m, and protojson's own. What does not fit is told as
// PlainJSON tells it.
func UnmarshalJSON(data []byte, m proto.Message) error {
	b, err := PlainJSON(data, m.ProtoReflect().Descriptor())
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(b, m); err != nil {
		return misfit(m.ProtoReflect().Descriptor())
	}
	return nil
}

// PlainJSON answers as protojson, with the fields' own names, a message that data holds in the JSON form of the
// documentation; null, which is a field's absence, stays. It refuses with
// INVALID_ARGUMENT, and with line and column: text that is no JSON, names that are given twice, more than 100,000 values,
// more than 100 levels; and, all of them at once (the first 100), fields that the message does not have and values that
// do not fit. No value is in an error.
func PlainJSON(data []byte, d protoreflect.MessageDescriptor) ([]byte, error) {
	v, err := parseJSON(data)
	if err != nil {
		return nil, err
	}
	r := reader{data: data}
	plain := r.message(d, v, "")
	if err := fault.Of(fault.ReasonInvalidArgument, r.faults); err != nil {
		return nil, err //nolint:wrapcheck // born here
	}
	b, err := json.Marshal(plain)
	if err != nil {
		return nil, misfit(d)
	}
	return b, nil
}

func misfit(d protoreflect.MessageDescriptor) error {
	return fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the body is no %s", d.Name())
}

// reader turns values into what protojson reads, and notes what does not fit.
type reader struct {
	data   []byte
	faults []fault.Violation
}

func (r *reader) refuse(v jsonValue, path, message, fix string) any {
	if len(r.faults) < maxViolations {
		line, column := place(r.data, v.at)
		r.faults = append(r.faults, fault.Violation{File: documentName, Line: line, Column: column, Field: path, Message: message, Fix: fix})
	}
	return nil
}

func (r *reader) message(d protoreflect.MessageDescriptor, v jsonValue, path string) any {
	if d.ParentFile().Package() == "google.protobuf" && d.FullName().Parent() == "google.protobuf" && isWellKnown(d) {
		return r.wellKnown(d, v, path)
	}
	if v.is != jsonObject {
		return r.refuse(v, path, "is "+v.is.String()+", and not an object", "send a "+string(d.Name()))
	}
	out := make(map[string]any, len(v.members))
	given := map[protoreflect.FullName]bool{}
	for _, m := range v.members {
		p := join(path, m.name)
		f := d.Fields().ByName(protoreflect.Name(m.name))
		if f == nil {
			f = d.Fields().ByJSONName(m.name)
		}
		if f == nil && len(r.faults) == maxViolations {
			continue
		}
		if f == nil {
			r.refuse(m.value, p, fmt.Sprintf("%q is no field of %s", clip(m.name), d.Name()), "it has "+names(d))
			continue
		}
		if given[f.FullName()] {
			r.refuse(m.value, p, "is given twice, under both of its names", "keep one")
			continue
		}
		given[f.FullName()] = true
		if m.value.is == jsonNull && !takesNull(f) {
			out[string(f.Name())] = nil
			continue
		}
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			if given[o.FullName()] {
				r.refuse(m.value, p, "excludes another field of "+string(o.Name())+" that is given too", "keep one")
				continue
			}
			given[o.FullName()] = true
		}
		out[string(f.Name())] = r.field(f, m.value, p)
	}
	return out
}

func (r *reader) field(f protoreflect.FieldDescriptor, v jsonValue, path string) any {
	switch {
	case f.IsMap():
		if v.is != jsonObject {
			return r.refuse(v, path, "is "+v.is.String()+", and not an object", "send names with values")
		}
		out := make(map[string]any, len(v.members))
		for _, m := range v.members {
			out[m.name] = r.value(f.MapValue(), m.value, join(path, m.name))
		}
		return out
	case f.IsList():
		if v.is != jsonList {
			return r.refuse(v, path, "is "+v.is.String()+", and not a list", "send a list, also of one")
		}
		out := make([]any, len(v.items))
		for i, e := range v.items {
			out[i] = r.value(f, e, fmt.Sprintf("%s[%d]", path, i))
		}
		return out
	default:
		return r.value(f, v, path)
	}
}

func (r *reader) value(f protoreflect.FieldDescriptor, v jsonValue, path string) any {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return r.message(f.Message(), v, path)
	case protoreflect.EnumKind:
		return r.enum(f.Enum(), v, path)
	case protoreflect.BoolKind:
		if v.is != jsonBool {
			return r.refuse(v, path, "is "+v.is.String()+", and not true or false", "")
		}
	case protoreflect.StringKind:
		if v.is != jsonText {
			return r.refuse(v, path, "is "+v.is.String()+", and not a text", "put it in quotes")
		}
	case protoreflect.BytesKind:
		if !isBase64(v) {
			return r.refuse(v, path, "is no text in base64", "")
		}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return r.float(f, v, path)
	default:
		return r.integer(f, v, path)
	}
	return v.scalar
}

func (r *reader) enum(d protoreflect.EnumDescriptor, v jsonValue, path string) any {
	if d.FullName() == "google.protobuf.NullValue" {
		return v.scalar
	}
	switch s := v.scalar.(type) {
	case string:
		if e := EnumValue(d, s); e != nil {
			return string(e.Name())
		}
	case json.Number:
		if n, err := strconv.ParseInt(string(s), 10, 32); err == nil && d.Values().ByNumber(protoreflect.EnumNumber(n)) != nil {
			return s
		}
	}
	return r.refuse(v, path, "is none of the words of "+string(d.Name()), "use one of "+strings.Join(Words(d), ", "))
}

func (r *reader) integer(f protoreflect.FieldDescriptor, v jsonValue, path string) any {
	text, ok := numeral(v)
	if ok && len(text) <= 40 {
		bits, signed := 64, true
		switch f.Kind() {
		case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
			bits = 32
		case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
			bits, signed = 32, false
		case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
			signed = false
		}
		if n, whole := wholeNumber(text); whole && fitsIn(n, bits, signed) {
			return n.String()
		}
	}
	return r.refuse(v, path, "is no whole number in the range of "+f.Kind().String(), "")
}

func (r *reader) float(f protoreflect.FieldDescriptor, v jsonValue, path string) any {
	text, ok := numeral(v)
	if ok {
		bits := 64
		if f.Kind() == protoreflect.FloatKind {
			bits = 32
		}
		if _, err := strconv.ParseFloat(text, bits); err == nil && json.Valid([]byte(text)) || text == "NaN" || text == "Infinity" || text == "-Infinity" {
			return text
		}
	}
	return r.refuse(v, path, "is no number in the range of "+f.Kind().String(), "")
}

// wellKnown lets protojson judge Timestamp, Duration, Struct and their like, one by one.
func (r *reader) wellKnown(d protoreflect.MessageDescriptor, v jsonValue, path string) any {
	plain := v.plain()
	if s, ok := plain.(string); ok && d.Name() == "FieldMask" {
		plain = camelPaths(s)
	}
	b, err := json.Marshal(plain)
	if err == nil {
		err = protojson.Unmarshal(b, dynamicpb.NewMessage(d))
	}
	if err != nil {
		return r.refuse(v, path, "is no "+string(d.Name()), forms[d.Name()])
	}
	return plain
}

// forms say how the well-known messages are written.
var forms = map[protoreflect.Name]string{ //nolint:gochecknoglobals // a constant table
	"Timestamp": "write it by RFC 3339, such as 2026-01-31T09:00:00Z",
	"Duration":  "write seconds, such as 1.5s",
	"FieldMask": "write the paths of fields, joined by commas",
	"Struct":    "send an object",
	"ListValue": "send a list",
}

// isWellKnown says whether protojson has a form of its own for a message of google.protobuf.
func isWellKnown(d protoreflect.MessageDescriptor) bool {
	switch d.Name() {
	case "Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "Any", "Empty",
		"DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue", "StringValue", "BytesValue":
		return true
	}
	return false
}

// takesNull says whether null is a value of the field, and not its absence.
func takesNull(f protoreflect.FieldDescriptor) bool {
	if f.Cardinality() == protoreflect.Repeated {
		return false
	}
	return f.Message() != nil && f.Message().FullName() == "google.protobuf.Value" ||
		f.Enum() != nil && f.Enum().FullName() == "google.protobuf.NullValue"
}

// plain answers a value as encoding/json writes it.
func (v jsonValue) plain() any {
	switch v.is {
	case jsonObject:
		out := make(map[string]any, len(v.members))
		for _, m := range v.members {
			out[m.name] = m.value.plain()
		}
		return out
	case jsonList:
		out := make([]any, len(v.items))
		for i, e := range v.items {
			out[i] = e.plain()
		}
		return out
	default:
		return v.scalar
	}
}

// EnumValue answers the value that a word of documents names, or its own name; nil where there is none.
func EnumValue(d protoreflect.EnumDescriptor, word string) protoreflect.EnumValueDescriptor {
	if v := d.Values().ByName(protoreflect.Name(word)); v != nil {
		return v
	}
	for i := range d.Values().Len() {
		if v := d.Values().Get(i); Word(v) == strings.ToLower(word) {
			return v
		}
	}
	return nil
}

// Words answers the words of an enum, less that of the zero value.
func Words(d protoreflect.EnumDescriptor) []string {
	var out []string
	for i := range d.Values().Len() {
		if v := d.Values().Get(i); v.Number() != 0 {
			out = append(out, Word(v))
		}
	}
	return out
}

func numeral(v jsonValue) (string, bool) {
	switch s := v.scalar.(type) {
	case json.Number:
		return string(s), true
	case string:
		return s, true
	}
	return "", false
}

// wholeNumber reads 12, 12.0 and 1.2e1, which are the same number. Exponents are small.
func wholeNumber(text string) (*big.Int, bool) {
	if !json.Valid([]byte(text)) {
		return nil, false
	}
	if _, exponent, ok := strings.Cut(strings.ToLower(text), "e"); ok {
		if n, err := strconv.Atoi(exponent); err != nil || n < -40 || n > 40 {
			return nil, false
		}
	}
	q, ok := new(big.Rat).SetString(text)
	if !ok || !q.IsInt() {
		return nil, false
	}
	return q.Num(), true
}

func fitsIn(n *big.Int, bits int, signed bool) bool {
	switch {
	case !signed:
		return n.Sign() >= 0 && n.BitLen() <= bits
	case n.Sign() < 0:
		return new(big.Int).Not(n).BitLen() < bits
	default:
		return n.BitLen() < bits
	}
}

// isBase64 says whether protojson reads the text as bytes: either alphabet, padded or not.
func isBase64(v jsonValue) bool {
	s, ok := v.scalar.(string)
	if !ok {
		return false
	}
	enc := base64.StdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.URLEncoding
	}
	if len(s)%4 != 0 {
		enc = enc.WithPadding(base64.NoPadding)
	}
	_, err := enc.DecodeString(s)
	return err == nil
}

func join(path, name string) string {
	if path == "" {
		return clip(name)
	}
	return path + "." + clip(name)
}

// clip shortens a name that the caller made up.
func clip(name string) string {
	const most = 64
	if r := []rune(name); len(r) > most {
		return string(r[:most]) + "…"
	}
	return name
}

func names(d protoreflect.MessageDescriptor) string {
	if d.Fields().Len() == 0 {
		return "no fields"
	}
	var out []string
	for i := range d.Fields().Len() {
		out = append(out, string(d.Fields().Get(i).Name()))
	}
	return strings.Join(out, ", ")
}

// camelPaths turns display_name,sql into displayName,sql.
func camelPaths(s string) string {
	var b strings.Builder
	up := false
	for _, r := range s {
		switch {
		case r == '_':
			up = true
			continue
		case up:
			r = unicode.ToUpper(r)
		}
		up = false
		b.WriteRune(r)
	}
	return b.String()
}
