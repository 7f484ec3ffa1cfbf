package document

import (
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/resource"
)

// document reads one document into an item, where its kind is known.
func (r *reader) document(n *yaml.Node) {
	r.start, r.places = place(r.file.Name, n), map[string]Place{}
	root := r.resolve(n, "", 0)
	if root == nil {
		return
	}
	if root.Kind != yaml.MappingNode {
		r.fail(root, "", "begin with kind: Connection, Feed, DataModel, Mapping, Sync or Alert", "a document is %s and must be an object", describe(root))
		return
	}
	kindNode, idNode := member(root, "kind"), member(root, "id")
	if idNode != nil && idNode.Kind == yaml.ScalarNode {
		r.id = clip(idNode.Value)
	}
	const fix = "use Connection, Feed, DataModel, Mapping, Sync or Alert"
	if kindNode == nil {
		r.fail(root, "kind", fix, "is missing")
		return
	}
	kind, ok := kindOf(kindNode.Value)
	if !ok {
		r.fail(kindNode, "kind", fix, "unknown kind %q", clip(kindNode.Value))
		return
	}
	r.kind = string(kind)
	it := Item{start: r.start, places: r.places}
	before := len(r.violations)
	switch kind {
	case resource.KindConnection:
		it.Resource = r.connection(root)
	case resource.KindFeed:
		it.Resource = r.feed(root)
	case resource.KindDataModel:
		it.Resource = r.model(root)
	case resource.KindMapping:
		it.Resource = r.mapping(root)
	case resource.KindSync:
		it.Resource, it.HasState = r.sync(root)
	case resource.KindAlert:
		it.Resource = r.alert(root)
	}
	r.finish(it, before)
}

// finish validates what was read. A field that could not be read is not reported a second time.
func (r *reader) finish(it Item, before int) {
	if r.spent {
		return
	}
	reported := map[string]bool{}
	for _, v := range r.violations[before:] {
		reported[v.Field] = true
	}
	it.Resource.Normalize()
	for _, v := range it.Resource.Validate() {
		if !covered(reported, v.Field) {
			r.violations = append(r.violations, it.Locate(v))
		}
	}
	r.set.Items = append(r.set.Items, it)
}

// covered says whether a field, one above it or one below it was reported; for a resource as a whole, whether any was.
func covered(reported map[string]bool, field string) bool {
	if field == "" {
		return len(reported) > 0
	}
	for f := field; f != ""; f = parent(f) {
		if reported[f] {
			return true
		}
	}
	for f := range reported {
		if strings.HasPrefix(f, field+".") || strings.HasPrefix(f, field+"[") {
			return true
		}
	}
	return false
}

const maxShown = 64

// clip bounds text of a document that a message shows.
func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	n := maxShown
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

func member(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			if v := n.Content[i+1]; v.Kind == yaml.AliasNode {
				return v.Alias
			}
			return n.Content[i+1]
		}
	}
	return nil
}

// head is the fields that every kind has.
func (r *reader) head(m *resource.Meta) []field {
	var kind string
	return []field{
		text(r, "kind", &kind),
		text(r, "id", &m.ID),
		text(r, "display_name", &m.DisplayName),
		{name: "labels", read: func(n *yaml.Node, path string) { r.labels(n, path, m) }},
	}
}

func (r *reader) labels(n *yaml.Node, path string, m *resource.Meta) {
	if n.Kind != yaml.MappingNode {
		r.fail(n, path, "write KEY: VALUE pairs", "is %s and must be an object", describe(n))
		return
	}
	m.Labels = map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if _, ok := m.Labels[key.Value]; ok || key.Kind != yaml.ScalarNode {
			r.fail(key, at, "keep one", "stands there twice or is no word")
			continue
		}
		r.places[at] = place(r.file.Name, value)
		if v := r.resolve(value, at, depthOf(path)+1); v != nil {
			if s, ok := r.textAt(v, at); ok {
				m.Labels[key.Value] = s
			}
		}
	}
	if len(m.Labels) == 0 {
		m.Labels = nil
	}
}

func (r *reader) connection(n *yaml.Node) *resource.Connection {
	c := &resource.Connection{}
	fields := append(r.head(&c.Meta),
		field{name: "duckdb", read: func(n *yaml.Node, path string) {
			c.DuckDB = &resource.DuckDB{}
			r.object(n, path, r.path("path", &c.DuckDB.Path))
		}},
		field{name: "postgres", read: func(n *yaml.Node, path string) {
			p := &resource.Postgres{}
			c.Postgres = p
			r.object(n, path,
				text(r, "host", &p.Host), integer(r, "port", &p.Port), text(r, "database", &p.Database), text(r, "user", &p.User),
				r.secret("password", &p.Password), text(r, "sslmode", &p.SSLMode), r.textOrReference("ca", &p.CA),
				r.textOrReference("client_certificate", &p.ClientCertificate), r.secret("client_key", &p.ClientKey),
				duration(r, "statement_timeout", &p.StatementTimeout), text(r, "state_schema", &p.StateSchema),
			)
		}})
	fields = append(fields, r.redshift(c), r.databricks(c), r.snowflake(c), r.bigquery(c), r.deltaSharing(c))
	r.object(n, "", fields...)
	return c
}

// path is a field of a path, which the file's folder makes absolute.
func (r *reader) path(name string, to *string) field {
	return field{name: name, read: func(n *yaml.Node, path string) {
		s, ok := r.textAt(n, path)
		if !ok {
			return
		}
		if s != "" && !filepath.IsAbs(s) && r.file.BaseDir != "" {
			s = filepath.Join(r.file.BaseDir, s)
		}
		*to = s
	}}
}

func (r *reader) feed(n *yaml.Node) *resource.Feed {
	f := &resource.Feed{}
	r.object(n, "", append(r.head(&f.Meta), word(r, "environment", &f.Environment, nil), word(r, "input_protection", &f.Protection, nil))...)
	return f
}

func (r *reader) model(n *yaml.Node) *resource.DataModel {
	m := &resource.DataModel{}
	var nulls, loadTime string
	r.object(n, "", append(r.head(&m.Meta),
		text(r, "connection", &m.Connection),
		word(r, "record_kind", &m.Kind, nil),
		text(r, "sql", &m.SQL), text(r, "table", &m.Table),
		texts(r, "key_columns", &m.KeyColumns),
		text(r, "group_type", &m.GroupType, "group_key"), text(r, "start_time", &m.StartTime), r.oneOrMore("enrich", &m.Enrich),
		text(r, "load_timestamp_field_name", &loadTime),
		field{name: "iterator", read: func(n *yaml.Node, path string) {
			r.object(n, path, text(r, "column", &m.Iterator.Column, "load_timestamp_field_name"), word(r, "type", &m.Iterator.Type, nil),
				text(r, "time_zone", &m.Iterator.TimeZone), text(r, "nulls", &nulls))
			if nulls != "" && nulls != "skip" && nulls != "read" {
				r.fail(member(n, "nulls"), path+".nulls", "use skip or read", "unknown value %q", clip(nulls))
			}
			m.Iterator.ReadNulls = nulls == "read"
		}})...)
	if loadTime != "" {
		if m.Iterator.Column != "" {
			r.fail(member(n, "load_timestamp_field_name"), "load_timestamp_field_name", "keep one", "stands beside iterator")
			return m
		}
		m.Iterator.Column = loadTime
		if m.Iterator.Type == "" {
			m.Iterator.Type = resource.IteratorTimestamp
		}
	}
	return m
}

func (r *reader) sync(n *yaml.Node) (*resource.Sync, bool) {
	s := &resource.Sync{}
	r.object(n, "", append(r.head(&s.Meta),
		text(r, "data_model", &s.DataModel), text(r, "mapping", &s.Mapping), text(r, "feed", &s.Feed),
		word(r, "mode", &s.Mode, map[string]resource.Mode{"time_based": resource.Incremental, "append": resource.Incremental, "mirror_mode": resource.Mirror}),
		word(r, "on_delete", &s.OnDelete, nil), word(r, "mirror_engine", &s.MirrorEngine, nil),
		field{name: "schedule", read: func(n *yaml.Node, path string) { r.schedule(n, path, &s.Schedule) }},
		instant(r, "from", &s.From), instant(r, "until", &s.Until),
		duration(r, "lookback", &s.Lookback), duration(r, "delay", &s.Delay), duration(r, "freshness", &s.Freshness),
		word(r, "state", &s.State, nil), text(r, "trigger_limit", &s.TriggerLimit),
		field{name: "drift", read: func(n *yaml.Node, path string) { r.drift(n, path, &s.Drift) }},
		field{name: "guard", read: func(n *yaml.Node, path string) { r.guard(n, path, &s.Guard) }},
		field{name: "reject_limit", read: func(n *yaml.Node, path string) {
			r.object(n, path, float(r, "percent", &s.RejectLimit.Percent), long(r, "of", &s.RejectLimit.Of))
		}},
		field{name: "budget", read: func(n *yaml.Node, path string) {
			r.object(n, path, size(r, "bytes_scanned", &s.Budget.BytesScanned))
		}})...)
	return s, s.State != ""
}

func (r *reader) drift(n *yaml.Node, path string, d *resource.Drift) {
	r.object(n, path, word(r, "added", &d.Added, nil), word(r, "dropped", &d.Dropped, nil), word(r, "narrowed", &d.Narrowed, nil))
}

func (r *reader) guard(n *yaml.Node, path string, g *resource.Guard) {
	limit := func(name string, to **resource.GuardLimit) field {
		return field{name: name, read: func(n *yaml.Node, path string) {
			*to = &resource.GuardLimit{}
			r.object(n, path, float(r, "max_percent", &(*to).MaxPercent), long(r, "min_rows", &(*to).MinRows))
		}}
	}
	r.object(n, path, limit("deletes", &g.Deletes), limit("updates", &g.Updates), limit("nulls", &g.Nulls),
		field{name: "rows", read: func(n *yaml.Node, path string) {
			g.Rows = &resource.GuardRows{}
			r.object(n, path, float(r, "min_percent_of_average", &g.Rows.MinPercentOfAverage))
		}},
		word(r, "on_breach", &g.OnBreach, nil))
}

func (r *reader) schedule(n *yaml.Node, path string, s *resource.Schedule) {
	demand := false
	every := field{name: "every", aliases: []string{"interval"}, read: func(n *yaml.Node, path string) {
		if v, ok := r.textAt(n, path); ok {
			s.Every = v
		}
	}}
	r.object(n, path, every, instant(r, "start", &s.Start), text(r, "cron", &s.Cron), text(r, "time_zone", &s.TimeZone),
		instant(r, "once", &s.Once), texts(r, "after", &s.After),
		field{name: "on_demand", read: func(n *yaml.Node, path string) { demand = r.object(n, path) }})
	if demand && (s.Every != "" || s.Cron != "" || !s.Once.IsZero() || len(s.After) > 0) {
		r.fail(n, path, "keep one of every, cron, once, after and on_demand", "has two forms")
	}
}
