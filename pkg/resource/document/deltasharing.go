package document

import (
	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

func (r *reader) deltaSharing(c *resource.Connection) field {
	return field{name: "delta_sharing", read: func(n *yaml.Node, path string) {
		d := &resource.DeltaSharing{}
		c.DeltaSharing = d
		r.object(n, path, text(r, "share", &d.Share), text(r, "schema", &d.Schema), r.secret("profile", &d.Profile))
	}}
}

func (w *writer) deltaSharing(d *resource.DeltaSharing) {
	w.object("delta_sharing", false, func(w *writer) {
		w.text("share", d.Share)
		w.text("schema", d.Schema)
		w.secret("profile", d.Profile)
	})
}
