package document

import (
	"strconv"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

func (r *reader) databricks(c *resource.Connection) field {
	return field{name: "databricks", read: func(n *yaml.Node, path string) {
		d := &resource.Databricks{}
		c.Databricks = d
		r.object(n, path,
			text(r, "host", &d.Host), integer(r, "port", &d.Port), text(r, "protocol", &d.Protocol), text(r, "http_path", &d.HTTPPath),
			text(r, "warehouse_id", &d.WarehouseID), text(r, "catalog", &d.Catalog), text(r, "schema", &d.Schema),
			text(r, "client_id", &d.ClientID), r.secret("client_secret", &d.ClientSecret), r.secret("token", &d.Token),
			duration(r, "statement_timeout", &d.StatementTimeout),
		)
	}}
}

func (w *writer) databricks(d *resource.Databricks) {
	w.object("databricks", false, func(w *writer) {
		w.text("host", d.Host)
		if d.Port != 0 {
			w.put("port", scalarNode(strconv.Itoa(d.Port)))
		}
		w.text("protocol", d.Protocol)
		w.text("http_path", d.HTTPPath)
		w.text("warehouse_id", d.WarehouseID)
		w.text("catalog", d.Catalog)
		w.text("schema", d.Schema)
		w.text("client_id", d.ClientID)
		w.secret("client_secret", d.ClientSecret)
		w.secret("token", d.Token)
		w.text("statement_timeout", resource.FormatDuration(d.StatementTimeout))
	})
}
