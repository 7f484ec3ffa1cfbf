package document

import (
	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

func (r *reader) alert(n *yaml.Node) *resource.Alert {
	a := &resource.Alert{}
	var on []string
	r.object(n, "", append(r.head(&a.Meta),
		r.oneOrMore("on", &on), r.oneOrMore("syncs", &a.Syncs),
		field{name: "webhook", read: func(n *yaml.Node, path string) {
			a.Webhook = &resource.Webhook{}
			r.object(n, path, text(r, "url", &a.Webhook.URL), r.secret("secret", &a.Webhook.Secret))
		}},
		field{name: "email", read: func(n *yaml.Node, path string) {
			a.Email = &resource.Email{}
			r.object(n, path, r.oneOrMore("to", &a.Email.To))
		}})...)
	for _, e := range on {
		a.On = append(a.On, resource.AlertEvent(e))
	}
	return a
}

func (w *writer) alert(a *resource.Alert) {
	w.head(a)
	on := make([]string, len(a.On))
	for i, e := range a.On {
		on[i] = string(e)
	}
	w.texts("on", on)
	w.texts("syncs", a.Syncs)
	if h := a.Webhook; h != nil {
		w.object("webhook", false, func(w *writer) {
			w.text("url", h.URL)
			w.secret("secret", h.Secret)
		})
	}
	if e := a.Email; e != nil {
		w.object("email", false, func(w *writer) { w.texts("to", e.To) })
	}
}
