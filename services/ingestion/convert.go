package ingestion

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/store"
)

// ofEnvironment answers the data set that a request means: prod unless it says otherwise.
func ofEnvironment(e configv1.Environment) resource.Environment {
	if e == configv1.Environment_ENVIRONMENT_UNSPECIFIED {
		return resource.Prod
	}
	return resourcepb.OfEnvironment(e)
}

func toProfile(s profile.Scope, p id.Profile, doc []byte) (*ingestionv1.Profile, error) {
	d, err := profile.Decode(doc)
	if err != nil {
		return nil, err //nolint:wrapcheck // classified by profile
	}
	out := &ingestionv1.Profile{
		Mpid: p.String(), Environment: resourcepb.ToEnvironment(s.Environment),
		UserAttributes: &structpb.Struct{Fields: make(map[string]*structpb.Value, len(d.Attributes))},
		Provenance:     make(map[string]*ingestionv1.Provenance, len(d.Attributes)),
		FirstSeen:      toTime(d.FirstSeen), LastSeen: toTime(d.LastSeen),
	}
	for _, i := range d.Identities {
		out.Identities = append(out.Identities, &ingestionv1.Identity{Type: i.Type, Value: i.Value})
	}
	for _, a := range d.Attributes {
		out.UserAttributes.Fields[a.Name] = toValue(a.Value)
		out.Provenance[a.Name] = toProvenance(a.From)
	}
	return out, nil
}

func toEvents(docs []store.EventDoc) ([]*ingestionv1.Event, error) {
	out := make([]*ingestionv1.Event, len(docs))
	for i, d := range docs {
		e, err := profile.DecodeEvent(d.Doc)
		if err != nil {
			return nil, err //nolint:wrapcheck // classified by profile
		}
		out[i] = &ingestionv1.Event{
			Id: hex.EncodeToString(d.Key.ID[:]), EventType: e.Type, Data: toValue(e.Data).GetStructValue(),
			Sync: e.From.SyncID, Run: e.From.Batch.Run.String(), Batch: e.From.Batch.String(),
		}
		if d.Key.Profile != 0 {
			out[i].Mpid = d.Key.Profile.String()
		}
	}
	return out, nil
}

func toReject(r store.StoredReject) *ingestionv1.Reject {
	return &ingestionv1.Reject{
		Run: r.Batch.Run.String(), Batch: r.Batch.String(), KeyValues: keyValues(r.Reject.KeyValues), Column: r.Reject.Column,
		Stage: string(r.Reject.Stage), Rule: r.Reject.Rule, Reason: r.Reject.Reason, CreateTime: toTime(r.Time),
	}
}

func toRejectCount(c store.RejectCount) *ingestionv1.RejectCount {
	return &ingestionv1.RejectCount{Stage: string(c.Stage), Column: c.Column, Rule: c.Rule, Reason: c.Reason, Rejects: c.Rejects}
}

// keyValues splits what record.ColumnKeyValues joins.
func keyValues(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, record.KeySeparator)
}

func toTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func ofTime(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// maxSafe is the largest integer up to which every integer has a double of its own.
const maxSafe = 1 << 53

// toValue answers v in the JSON form of the documentation. A number that a double would change is its text.
func toValue(v profile.Value) *structpb.Value {
	d := json.NewDecoder(bytes.NewReader(v.AppendJSON(nil)))
	d.UseNumber()
	var out any
	if d.Decode(&out) != nil {
		return structpb.NewStringValue(v.Text) // a JSON column that holds no JSON: the text as it is
	}
	return ofJSON(out)
}

func ofJSON(v any) *structpb.Value {
	switch v := v.(type) {
	case string:
		return structpb.NewStringValue(v)
	case bool:
		return structpb.NewBoolValue(v)
	case json.Number:
		return ofNumber(v.String())
	case []any:
		l := &structpb.ListValue{Values: make([]*structpb.Value, len(v))}
		for i, x := range v {
			l.Values[i] = ofJSON(x)
		}
		return structpb.NewListValue(l)
	case map[string]any:
		s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(v))}
		for k, x := range v {
			s.Fields[k] = ofJSON(x)
		}
		return structpb.NewStructValue(s)
	}
	return structpb.NewNullValue()
}

func ofNumber(text string) *structpb.Value {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n > maxSafe || n < -maxSafe {
			return structpb.NewStringValue(text)
		}
		return structpb.NewNumberValue(float64(n))
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !short(text) && strconv.FormatFloat(f, 'f', -1, 64) != text {
		return structpb.NewStringValue(text)
	}
	return structpb.NewNumberValue(f)
}

// short says whether a number has so few digits that a double keeps all of them.
func short(text string) bool {
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	digits := 0
	for _, c := range mantissa {
		if c >= '0' && c <= '9' {
			digits++
		}
	}
	return digits <= 15 && strings.ContainsAny(text, ".eE")
}
