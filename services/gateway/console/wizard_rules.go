package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

// The forms of rules as a table offers them. $unmapped is a form of its own.
const (
	formColumn     = "column"
	formStatic     = "static"
	formIgnore     = "ignore"
	formUnmapped   = "unmapped"
	formExpression = "expression"
)

const unmapped = "$unmapped"

// maxRuleForms bounds the rules that a page edits; a longer mapping is changed as a document.
const maxRuleForms = 500

// ruleForm is a rule as a row of a table. Objects are written out: their rules are rows whose destinations have the
// object's name in front, which means the same.
type ruleForm struct {
	N         string // tells the controls of rows apart
	Form      string
	Column    string // of formColumn and formIgnore
	Value     string // of formStatic and formExpression
	ValueType string // of formStatic: text (empty), number, boolean or json
	To, Type  string
	OnNull    string
	OnLoss    string
	Default   string // as JSON, or text that is none
	Transform string // words with spaces between
	Wrong     []fault.Violation
}

// blankRule stands for the number of a rule that a script adds.
const blankRule = "__N__"

// Label answers the number by which people are told of the row, from 1.
func (f ruleForm) Label() string {
	n, err := strconv.Atoi(f.N)
	if err != nil {
		return "__L__"
	}
	return strconv.Itoa(n + 1)
}

// Options says whether the row has more than what is always shown.
func (f ruleForm) Options() bool {
	return f.OnNull != "" || f.OnLoss != "" || f.Default != "" || f.Transform != "" || f.ValueType != ""
}

// Choices answers the options of the selects of a row, by name.
func (f ruleForm) Choices(name string) []option {
	var out []option
	switch name {
	case "form":
		out = options(f.Form, formColumn, formStatic, formExpression, formUnmapped, formIgnore)
		out[1].Text, out[3].Text = "static value", "all unmapped"
	case "value_type":
		out = options(f.ValueType, "", "number", "boolean", "json")
		out[0].Text, out[3].Text = "text", "JSON"
	case "type":
		out = options(f.Type, "", "string", "number", "integer", "decimal", "boolean", "timestamp", "json")
		out[0].Text = "as it is"
	case "on_null":
		out = options(f.OnNull, "", "skip", "clear")
		out[0].Text = "skip (default)"
	case "on_loss":
		out = options(f.OnLoss, "", "reject", "round")
		out[0].Text = "reject (default)"
	}
	return out
}

// ruleForms writes rules as rows, and says whether they all fit.
func ruleForms(rules []*configv1.Rule) ([]ruleForm, bool) {
	out := appendForms(nil, rules, "")
	for i := range out {
		out[i].N = strconv.Itoa(i)
	}
	return out[:min(len(out), maxRuleForms)], len(out) <= maxRuleForms
}

func appendForms(out []ruleForm, rules []*configv1.Rule, within string) []ruleForm {
	for _, r := range rules {
		if len(out) > maxRuleForms {
			return out
		}
		if r.GetObject() != "" {
			out = appendForms(out, r.GetRules(), within+r.GetObject()+".")
			continue
		}
		f := ruleForm{Form: formColumn, Column: r.GetColumn(), Type: r.GetType(), OnNull: r.GetOnNull(), OnLoss: r.GetOnLoss(), Transform: strings.Join(r.GetTransform(), " ")}
		if r.GetTo() != "" {
			f.To = within + r.GetTo()
		}
		if r.GetDefault() != nil {
			f.Default = jsonText(r.GetDefault().AsInterface())
		}
		switch {
		case r.GetColumn() == unmapped:
			f.Form, f.Column = formUnmapped, ""
		case r.GetIgnore() != "":
			f.Form, f.Column = formIgnore, r.GetIgnore()
		case r.GetExpression() != "":
			f.Form, f.Value = formExpression, r.GetExpression()
		case r.GetStatic() != nil:
			f.Form, f.Value, f.ValueType = formStatic, valueText(r.GetStatic()), valueTypeOf(r.GetStatic())
		}
		out = append(out, f)
	}
	return out
}

func valueTypeOf(v *structpb.Value) string {
	switch v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return ""
	case *structpb.Value_NumberValue:
		return "number"
	case *structpb.Value_BoolValue:
		return "boolean"
	}
	return "json"
}

// readRuleForms reads the rows that a form has, in its order. Buttons add and remove rows.
func (r *request) readRuleForms() []ruleForm {
	var out []ruleForm
	for _, n := range r.PostForm["rule"] {
		if len(out) == maxRuleForms || r.act() == "remove."+n {
			continue
		}
		at := func(name string) string { return strings.TrimSpace(r.PostFormValue(name + "." + n)) }
		out = append(out, ruleForm{
			N: n, Form: at("form"), Column: r.PostFormValue("column." + n), Value: r.PostFormValue("value." + n), ValueType: at("value_type"),
			To: at("to"), Type: at("type"), OnNull: at("on_null"), OnLoss: at("on_loss"), Default: at("default"), Transform: at("transform"),
		})
	}
	if r.act() == "add" {
		out = append(out, ruleForm{Form: formColumn})
	}
	for i := range out {
		out[i].N = strconv.Itoa(i)
	}
	return out
}

// rulesFrom answers the rules that rows describe, and reports what can not be a rule. The rule of a row has its place.
func rulesFrom(forms []ruleForm, bad *faults) []*configv1.Rule {
	out := make([]*configv1.Rule, len(forms))
	for i, f := range forms {
		out[i] = f.rule(fmt.Sprintf("rules[%d]", i), bad)
	}
	return out
}

func (f ruleForm) rule(path string, bad *faults) *configv1.Rule {
	r := &configv1.Rule{To: f.To, Type: f.Type}
	switch f.Form {
	case formIgnore:
		if f.Column == "" {
			bad.add(path, "no column is chosen", "choose the one to leave out")
		}
		return &configv1.Rule{Ignore: f.Column}
	case formStatic:
		r.Static = f.static(path, bad)
		return r
	case formExpression:
		if f.Value == "" {
			bad.add(path, "the expression is empty", "write one over row.NAME")
		}
		r.Expression = f.Value
	case formUnmapped:
		r.Column = unmapped
	default:
		if f.Column == "" {
			bad.add(path, "no column is chosen", "choose one, or remove the rule")
		}
		r.Column = f.Column
	}
	r.OnNull, r.OnLoss, r.Transform = f.OnNull, f.OnLoss, strings.Fields(f.Transform)
	if f.Default != "" {
		r.Default = &structpb.Value{}
		if err := r.Default.UnmarshalJSON([]byte(f.Default)); err != nil {
			r.Default = structpb.NewStringValue(f.Default)
		}
	}
	return r
}

// static reads a static value of the type that was chosen.
func (f ruleForm) static(path string, bad *faults) *structpb.Value {
	switch text := strings.TrimSpace(f.Value); f.ValueType {
	case "number":
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			bad.add(path+".static", fmt.Sprintf("%q is no number", short(64, text)), "write one such as 12.5, or choose text")
		}
		return structpb.NewNumberValue(n)
	case "boolean":
		if !slices.Contains([]string{"true", "false"}, text) {
			bad.add(path+".static", fmt.Sprintf("%q is neither true nor false", short(64, text)), "write one of them, or choose text")
		}
		return structpb.NewBoolValue(text == "true")
	case "json":
		v := &structpb.Value{}
		if !json.Valid([]byte(text)) || v.UnmarshalJSON([]byte(text)) != nil {
			bad.add(path+".static", "is no JSON", "write a list, an object or null, or choose text")
			return structpb.NewNullValue()
		}
		return v
	}
	return structpb.NewStringValue(f.Value)
}

// tell puts violations beside the rows that they are about, and answers the others.
func tell(forms []ruleForm, w wrongs) wrongs {
	rest := wrongs{}
	for field, vs := range w {
		n, ok := rowOf(field)
		if !ok || n >= len(forms) {
			rest[field] = vs
			continue
		}
		forms[n].Wrong = append(forms[n].Wrong, vs...)
	}
	return rest
}

// rowOf answers the number of the rule that a field is of: rules[2].to is 2.
func rowOf(field string) (int, bool) {
	rest, ok := strings.CutPrefix(field, "rules[")
	if !ok {
		return 0, false
	}
	digits, _, ok := strings.Cut(rest, "]")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}
