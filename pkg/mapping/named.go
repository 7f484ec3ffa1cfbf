package mapping

import (
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"millrace.dev/pkg/resource"
)

// Named answers the columns that a mapping or the model names itself: those that neither $unmapped nor a mapping by name
// takes along with others. A column that is not in the schema counts as well. What is wrong with either is Compile's to say.
func Named(m *resource.Mapping, model resource.DataModel, in *arrow.Schema) map[string]bool {
	c := &compiler{
		limits: DefaultLimits(), model: model, in: in, kind: KindOf(model.Kind), events: model.Kind == resource.Events, zone: time.UTC,
		named: map[string]int{}, ignored: map[int]string{}, used: map[int]bool{},
	}
	c.checkColumns()
	c.checkModel()
	out := map[string]bool{}
	for _, name := range append([]string{model.Iterator.Column, model.StartTime}, model.KeyColumns...) {
		out[name] = true
	}
	switch {
	case m == nil:
	case m.Events != nil:
		for _, name := range []string{m.Events.Time, m.Events.Name, m.Events.UserID, m.Events.DeviceID, m.Events.Properties} {
			out[name] = true
		}
	default:
		c.root = &node{spec: catalogueOf(c.kind, c.model.GroupType != "")}
		c.flatten(m.Rules, "rules", nil)
		c.markNamed()
		for _, a := range c.assigned {
			out[a.rule.Column] = true
		}
	}
	for at := range c.used {
		out[in.Field(at).Name] = true
	}
	delete(out, "")
	delete(out, unmapped)
	return out
}
