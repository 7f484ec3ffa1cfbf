package rpc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// MarshalJSON answers the JSON form of the documentation: protojson with snake_case names in the order of the message,
// 64-bit integers as strings, enum values as lower-case words without prefix, field masks as snake_case paths joined by
// commas. Zero scalars and empty lists are there; an unset message or optional field is left out. The same message
// always gives the same bytes.
func MarshalJSON(m proto.Message) ([]byte, error) {
	var w writer
	if err := w.message(m.ProtoReflect()); err != nil {
		return nil, fmt.Errorf("write %s as JSON: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return w.buf, nil
}

// writer writes compact JSON.
type writer struct{ buf []byte }

func (w *writer) put(s string) { w.buf = append(w.buf, s...) }

func (w *writer) message(m protoreflect.Message) error {
	d := m.Descriptor()
	if mask, ok := m.Interface().(*fieldmaskpb.FieldMask); ok {
		return w.text(strings.Join(mask.GetPaths(), ","))
	}
	if d.ParentFile().Package() == "google.protobuf" {
		return w.wellKnown(m)
	}
	w.put(`{`)
	first := true
	fields := d.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		if !first {
			w.put(`,`)
		}
		first = false
		if err := w.text(string(f.Name())); err != nil {
			return err
		}
		w.put(`:`)
		if err := w.field(f, m.Get(f)); err != nil {
			return err
		}
	}
	w.put(`}`)
	return nil
}

// wellKnown writes Timestamp, Duration, Struct and their like as protojson does, less its random spaces.
func (w *writer) wellKnown(m protoreflect.Message) error {
	b, err := protojson.Marshal(m.Interface())
	if err != nil {
		return err //nolint:wrapcheck // MarshalJSON says of what
	}
	var plain bytes.Buffer
	if err := json.Compact(&plain, b); err != nil {
		return err //nolint:wrapcheck // as above
	}
	w.buf = append(w.buf, plain.Bytes()...)
	return nil
}

func (w *writer) field(f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case f.IsList():
		w.put(`[`)
		for i := range v.List().Len() {
			if i > 0 {
				w.put(`,`)
			}
			if err := w.value(f, v.List().Get(i)); err != nil {
				return err
			}
		}
		w.put(`]`)
		return nil
	case f.IsMap():
		return w.dict(f, v.Map())
	default:
		return w.value(f, v)
	}
}

// dict writes a map in the order of its keys' texts.
func (w *writer) dict(f protoreflect.FieldDescriptor, m protoreflect.Map) error {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	for k := range m.Range {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	w.put(`{`)
	for i, k := range keys {
		if i > 0 {
			w.put(`,`)
		}
		if err := w.text(k.String()); err != nil {
			return err
		}
		w.put(`:`)
		if err := w.value(f.MapValue(), m.Get(k)); err != nil {
			return err
		}
	}
	w.put(`}`)
	return nil
}

func (w *writer) value(f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.message(v.Message())
	case protoreflect.EnumKind:
		return w.enum(f.Enum(), v.Enum())
	case protoreflect.StringKind:
		return w.text(v.String())
	case protoreflect.BytesKind:
		return w.text(base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.BoolKind:
		w.put(strconv.FormatBool(v.Bool()))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		w.put(strconv.FormatInt(v.Int(), 10))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		w.put(strconv.FormatUint(v.Uint(), 10))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		w.put(`"` + strconv.FormatInt(v.Int(), 10) + `"`)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		w.put(`"` + strconv.FormatUint(v.Uint(), 10) + `"`)
	case protoreflect.FloatKind:
		return w.float(v.Float(), 32)
	case protoreflect.DoubleKind:
		return w.float(v.Float(), 64)
	}
	return nil
}

func (w *writer) float(v float64, bits int) error {
	switch {
	case math.IsNaN(v):
		return w.text("NaN")
	case math.IsInf(v, 1):
		return w.text("Infinity")
	case math.IsInf(v, -1):
		return w.text("-Infinity")
	case bits == 32:
		b, err := json.Marshal(float32(v))
		w.buf = append(w.buf, b...)
		return err //nolint:wrapcheck // MarshalJSON says of what
	default:
		b, err := json.Marshal(v)
		w.buf = append(w.buf, b...)
		return err //nolint:wrapcheck // MarshalJSON says of what
	}
}

func (w *writer) enum(d protoreflect.EnumDescriptor, n protoreflect.EnumNumber) error {
	if v := d.Values().ByNumber(n); v != nil {
		return w.text(Word(v))
	}
	w.put(strconv.Itoa(int(n)))
	return nil
}

// text writes a JSON string, leaving <, > and & as they are.
func (w *writer) text(s string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return err //nolint:wrapcheck // MarshalJSON says of what
	}
	w.buf = append(w.buf, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
	return nil
}

// Word answers an enum value as documents write it: RUN_STATE_SUCCEEDED is succeeded.
func Word(v protoreflect.EnumValueDescriptor) string {
	name := string(v.Name())
	if d, ok := v.Parent().(protoreflect.EnumDescriptor); ok {
		name = strings.TrimPrefix(name, prefix(d))
	}
	return strings.ToLower(name)
}

// prefix answers the prefix of an enum's values: RunState has RUN_STATE_.
func prefix(d protoreflect.EnumDescriptor) string {
	var b strings.Builder
	for i, r := range string(d.Name()) {
		if i > 0 && unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String() + "_"
}
