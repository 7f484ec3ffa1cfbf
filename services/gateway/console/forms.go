package console

import (
	"fmt"
	"strconv"
	"strings"

	"millrace.dev/pkg/fault"
)

// input is one field of a form as its template shows it.
type input struct {
	Name, Label, Hint string
	Kind              inputKind
	Value             string
	Choices           []option
	Required          bool
	Kept              bool // of a secret: one is stored
	Wrong             []fault.Violation
}

// option is what a select or a group of radio buttons offers.
type option struct {
	Value, Text string
	Chosen      bool
}

// options makes options of values, which are said as words.
func options(chosen string, values ...string) []option {
	out := make([]option, len(values))
	for i, v := range values {
		out[i] = option{Value: v, Text: say(v), Chosen: v == chosen}
	}
	return out
}

// wrongs are the violations of a refused form by their fields.
type wrongs map[string][]fault.Violation

// wrongsOf answers the violations of an error by field; kind "" takes those of all resources.
func wrongsOf(err error, kind string) wrongs {
	out := wrongs{}
	if err == nil {
		return out
	}
	for _, v := range fault.As(fault.FromStatus(err)).Violations {
		if kind == "" || v.Kind == "" || v.Kind == kind {
			out[v.Field] = append(out[v.Field], v)
		}
	}
	return out
}

// text answers a value of one line that was typed, without the space around it.
func (r *request) text(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }

// faults collects what of a form can not even be sent on.
type faults struct {
	kind, id string
	out      []fault.Violation
}

func (f *faults) add(field, message, fix string) {
	f.out = append(f.out, fault.Violation{Kind: f.kind, ID: f.id, Field: field, Message: message, Fix: fix})
}

// whole reads a whole number of so many bits; empty is 0.
func (f *faults) whole(field, text string, bits int) int64 {
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		f.add(field, fmt.Sprintf("%q is no whole number", short(64, text)), "write digits only")
	}
	return n
}

// err answers one error of all that was found, nil where nothing was.
func (f *faults) err() error {
	return fault.Of(fault.ReasonInvalidArgument, f.out) //nolint:wrapcheck // born classified
}

// maxSlug is how long an id is that is made of a name.
const maxSlug = 40

// slug makes an id of a name: Shop warehouse becomes shop_warehouse. Empty where the name has nothing to make one of.
func slug(name string) string {
	var b strings.Builder
	gap := false
	for _, c := range strings.ToLower(name) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			if gap && b.Len() > 0 {
				b.WriteByte('_')
			}
			gap = false
			b.WriteRune(c)
		} else {
			gap = true
		}
		if b.Len() >= maxSlug {
			break
		}
	}
	return b.String()
}

// Under answers the violations of a field and of all below it.
func (w wrongs) Under(field string) []fault.Violation {
	out := w[field]
	for f, vs := range w {
		if strings.HasPrefix(f, field+".") || strings.HasPrefix(f, field+"[") {
			out = append(out[:len(out):len(out)], vs...)
		}
	}
	return out
}
