package mapping

import (
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/resource"
)

// Naming is a column of rows as they are read that is mapped to an identity.
type Naming struct {
	Column string // empty: an expression makes the identity of columns
	Type   string
	edits  []edit

	expression string
}

// NamingOf answers which columns of rows name somebody, by the mapping of their sync or, without one, by their names. It
// needs no mapping that compiles.
func NamingOf(m *resource.Mapping, in *arrow.Schema) []Naming {
	names := make([]string, in.NumFields())
	for i := range names {
		names[i] = in.Field(i).Name
	}
	return NamingOfColumns(m, names)
}

// NamingOfColumns is NamingOf where no more than the names of columns is known.
func NamingOfColumns(m *resource.Mapping, names []string) []Naming {
	var out []Naming
	switch {
	case m == nil:
		for _, name := range names {
			if typ := identityByName(name); typ != "" {
				out = append(out, Naming{Column: name, Type: typ})
			}
		}
	case m.Events != nil:
		for typ, column := range map[string]string{"customer_id": m.Events.UserID, "mp_deviceid": m.Events.DeviceID} {
			if column != "" {
				out = append(out, Naming{Column: column, Type: typ})
			}
		}
	default:
		out = naming(m.Rules, nil, out)
	}
	return out
}

// naming adds the columns of rules within an object.
func naming(rules []resource.Rule, prefix []segment, out []Naming) []Naming {
	for _, r := range rules {
		if r.Object != "" {
			if p, m := parsePath(r.Object); !m.bad() {
				out = naming(r.Rules, slices.Concat(prefix, p.segments), out)
			}
			continue
		}
		p, m := parsePath(r.To)
		if m.bad() || p.star || r.Column == "" && r.Expression == "" {
			continue
		}
		all := slices.Concat(prefix, p.segments)
		typ := identityType(all[len(all)-1].name)
		within := len(all) == 1 || slices.ContainsFunc(all[:len(all)-1], func(s segment) bool {
			return s.name == "user_identities" || s.name == "device_info"
		})
		if typ == "" || !within {
			continue
		}
		out = append(out, Naming{r.Column, typ, editsOf(r.Transform), r.Expression})
	}
	return out
}

// Of says whether the value of a column may be the identity. An expression may make it of any column that it names.
func (n Naming) Of(column string) bool {
	if n.Column == "" {
		return strings.Contains(n.expression, column)
	}
	return strings.EqualFold(n.Column, column)
}

// Values answers the identities that the row at i names: of a naming by a column the value as the mapping makes it, of one
// by an expression the value of each column that it names.
func (n Naming) Values(rec arrow.RecordBatch, i int) []string {
	var out []string
	for at, f := range rec.Schema().Fields() {
		if col := rec.Column(at); n.Of(f.Name) && col.IsValid(i) {
			out = append(out, n.Value(textAt(col, i)))
		}
	}
	return out
}

// Value answers what the mapping makes of the text of a value.
func (n Naming) Value(text string) string {
	b := []byte(text)
	for _, edit := range n.edits {
		b = edit(b, 0)
	}
	return string(b)
}

// textAt answers a value as identities have it.
func textAt(col arrow.Array, i int) string {
	if e, ok := col.(array.ExtensionArray); ok {
		col = e.Storage()
	}
	if d, ok := col.(*array.Dictionary); ok {
		return textAt(d.Dictionary(), d.GetValueIndex(i))
	}
	return col.ValueStr(i)
}
