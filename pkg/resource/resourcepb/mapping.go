package resourcepb

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/resource"
)

// exact is the bound below which every whole number is exact in a double.
const exact = 1 << 53

// ToMapping answers m as a message.
func ToMapping(m resource.Mapping) *configv1.Mapping {
	out := &configv1.Mapping{Meta: toMeta(m.Meta), Rules: toRules(m.Rules), Version: m.Version}
	if e := m.Events; e != nil {
		out.Events = &configv1.EventsMapping{
			Time: e.Time, Name: e.Name, NameStatic: e.NameStatic, UserId: e.UserID, DeviceId: e.DeviceID, Properties: e.Properties,
		}
	}
	return out
}

// OfMapping answers the mapping that a message holds, each rule with its Path.
func OfMapping(m *configv1.Mapping) resource.Mapping {
	out := resource.Mapping{Meta: ofMeta(m.GetMeta()), Rules: ofRules(m.GetRules(), ""), Version: m.GetVersion()}
	if e := m.GetEvents(); e != nil {
		out.Events = &resource.EventsMapping{
			Time: e.GetTime(), Name: e.GetName(), NameStatic: e.GetNameStatic(),
			UserID: e.GetUserId(), DeviceID: e.GetDeviceId(), Properties: e.GetProperties(),
		}
	}
	return out
}

func toRules(rules []resource.Rule) []*configv1.Rule {
	if len(rules) == 0 {
		return nil
	}
	out := make([]*configv1.Rule, 0, len(rules))
	for _, r := range rules {
		p := &configv1.Rule{
			Column: r.Column, Expression: r.Expression, Ignore: r.Ignore, Object: r.Object, Rules: toRules(r.Rules),
			To: r.To, Type: r.Type, OnNull: r.OnNull, OnLoss: r.OnLoss, Transform: r.Transform,
		}
		if r.HasStatic {
			p.Static = toValue(r.Static)
		}
		if r.HasDefault {
			p.Default = toValue(r.Default)
		}
		out = append(out, p)
	}
	return out
}

// maxDepth bounds how deep rules nest; what lies deeper is cut, and Validate refuses what nests that deep.
const maxDepth = resource.MaxRuleDepth + 1

func ofRules(rules []*configv1.Rule, parent string) []resource.Rule {
	return ofRulesAt(rules, parent, 0)
}

func ofRulesAt(rules []*configv1.Rule, parent string, depth int) []resource.Rule {
	if len(rules) == 0 || depth >= maxDepth {
		return nil
	}
	out := make([]resource.Rule, 0, len(rules))
	for i, p := range rules {
		path := fmt.Sprintf("%srules[%d]", parent, i)
		out = append(out, resource.Rule{
			Column: p.GetColumn(), Expression: p.GetExpression(), Ignore: p.GetIgnore(), Object: p.GetObject(),
			Static: ofValue(p.GetStatic()), HasStatic: p.GetStatic() != nil,
			Default: ofValue(p.GetDefault()), HasDefault: p.GetDefault() != nil,
			Rules: ofRulesAt(p.GetRules(), path+".", depth+1),
			To:    p.GetTo(), Type: p.GetType(), OnNull: p.GetOnNull(), OnLoss: p.GetOnLoss(), Transform: p.GetTransform(),
			Path: path,
		})
	}
	return out
}

// toValue answers a rule's value as a message. What a rule cannot hold is null; Validate refuses it.
func toValue(v any) *structpb.Value {
	switch v := v.(type) {
	case string:
		return structpb.NewStringValue(v)
	case bool:
		return structpb.NewBoolValue(v)
	case int64:
		return structpb.NewNumberValue(float64(v))
	case float64:
		return structpb.NewNumberValue(v)
	case []any:
		list := &structpb.ListValue{Values: make([]*structpb.Value, 0, len(v))}
		for _, e := range v {
			list.Values = append(list.Values, toValue(e))
		}
		return structpb.NewListValue(list)
	case map[string]any:
		st := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(v))}
		for k, e := range v {
			st.Fields[k] = toValue(e)
		}
		return structpb.NewStructValue(st)
	default:
		return structpb.NewNullValue()
	}
}

func ofValue(v *structpb.Value) any {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return k.StringValue
	case *structpb.Value_BoolValue:
		return k.BoolValue
	case *structpb.Value_NumberValue:
		if n := k.NumberValue; n == math.Trunc(n) && math.Abs(n) <= exact {
			return int64(n)
		}
		return k.NumberValue
	case *structpb.Value_ListValue:
		out := make([]any, 0, len(k.ListValue.GetValues()))
		for _, e := range k.ListValue.GetValues() {
			out = append(out, ofValue(e))
		}
		return out
	case *structpb.Value_StructValue:
		out := make(map[string]any, len(k.StructValue.GetFields()))
		for n, e := range k.StructValue.GetFields() {
			out[n] = ofValue(e)
		}
		return out
	default:
		return nil
	}
}
