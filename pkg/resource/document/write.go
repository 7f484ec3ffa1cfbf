package document

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource"
)

// Write answers r as one document that Parse takes back as r, less what the service gives (uid, etag, times, status,
// versions). A secret is written as {kept: true}.
func Write(r resource.Resource) (File, error) {
	w := &writer{}
	name := ""
	switch r := r.(type) {
	case *resource.Connection:
		name = "connection"
		w.connection(r)
	case *resource.Feed:
		name = "feed"
		w.head(r)
		w.text("environment", string(r.Environment))
		w.text("input_protection", string(r.Protection))
	case *resource.DataModel:
		name = "data_model"
		w.model(r)
	case *resource.Mapping:
		name = "mapping"
		w.mapping(r)
	case *resource.Sync:
		name = "sync"
		w.sync(r)
	case *resource.Alert:
		name = "alert"
		w.alert(r)
	default:
		return File{}, fault.New(fault.Internal, fault.ReasonInternal, "no document form for a %T", r)
	}
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(w.node()); err != nil {
		return File{}, fmt.Errorf("write %s %s: %w", name, r.Head().ID, err)
	}
	if err := enc.Close(); err != nil {
		return File{}, fmt.Errorf("write %s %s: %w", name, r.Head().ID, err)
	}
	return File{Name: name + "-" + r.Head().ID + ".yaml", Content: buf.String()}, nil
}

// writer builds one object, key by key; what is empty is left out.
type writer struct {
	content []*yaml.Node
	flow    bool
}

func (w *writer) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Content: w.content}
	if w.flow {
		n.Style = yaml.FlowStyle
	}
	return n
}

func (w *writer) put(key string, value *yaml.Node) {
	w.content = append(w.content, textNode(key, false), value)
}

func (w *writer) text(key, value string) {
	if value != "" {
		w.put(key, textNode(value, !w.flow))
	}
}

func (w *writer) number(key string, v float64) {
	w.put(key, scalarNode(strconv.FormatFloat(v, 'f', -1, 64)))
}

func (w *writer) time(key string, t time.Time) {
	if !t.IsZero() {
		w.text(key, t.UTC().Format(time.RFC3339Nano))
	}
}

func (w *writer) texts(key string, values []string) {
	if len(values) == 0 {
		return
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range values {
		n.Content = append(n.Content, textNode(v, false))
	}
	w.put(key, n)
}

func (w *writer) object(key string, flow bool, fill func(w *writer)) {
	in := &writer{flow: flow}
	fill(in)
	w.put(key, in.node())
}

func (w *writer) secret(key string, s resource.Secret) {
	if !s.IsZero() {
		w.object(key, true, func(w *writer) { w.put("kept", scalarNode("true")) })
	}
}

func scalarNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: s} }

var (
	plainText = regexp.MustCompile(`^([A-Za-z_/$.][A-Za-z0-9_./$@+-]*|[0-9]+[a-z]+)$`) //nolint:gochecknoglobals // never changes
	oldWords  = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|[.]?(nan|inf))$`)          //nolint:gochecknoglobals // never changes
)

// textNode answers text in the plainest style that every reader takes as the same text.
func textNode(s string, block bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
	_, isText := plain(s).(string)
	switch {
	case isText && plainText.MatchString(s) && !oldWords.MatchString(s):
		n.Style = 0
	case block && isBlock(s):
		n.Style = yaml.LiteralStyle
	}
	return n
}

// isBlock says whether text reads the same as a literal block: several lines, none with spaces at its edge that a block
// could lose, nothing that needs an escape.
func isBlock(s string) bool {
	if !strings.Contains(strings.TrimSuffix(s, "\n"), "\n") || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\n") || strings.HasSuffix(s, "\n\n") {
		return false
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		if strings.TrimRight(line, " ") != line || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return false
		}
	}
	return true
}

func (w *writer) head(r resource.Resource) {
	m := r.Head()
	w.text("kind", string(r.ResourceKind()))
	w.text("id", m.ID)
	if m.DisplayName != m.ID {
		w.text("display_name", m.DisplayName)
	}
	if len(m.Labels) == 0 {
		return
	}
	w.object("labels", false, func(w *writer) {
		for _, k := range sortedKeys(m.Labels) {
			w.put(k, textNode(m.Labels[k], false))
		}
	})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (w *writer) connection(c *resource.Connection) {
	w.head(c)
	if c.DuckDB != nil {
		w.object("duckdb", false, func(w *writer) { w.text("path", c.DuckDB.Path) })
	}
	if c.Redshift != nil {
		w.redshift(c.Redshift)
	}
	if c.Databricks != nil {
		w.databricks(c.Databricks)
	}
	if c.Snowflake != nil {
		w.snowflake(c.Snowflake)
	}
	if c.BigQuery != nil {
		w.bigquery(c.BigQuery)
	}
	if c.DeltaSharing != nil {
		w.deltaSharing(c.DeltaSharing)
	}
	p := c.Postgres
	if p == nil {
		return
	}
	w.object("postgres", false, func(w *writer) {
		w.text("host", p.Host)
		if p.Port != 0 {
			w.put("port", scalarNode(strconv.Itoa(p.Port)))
		}
		w.text("database", p.Database)
		w.text("user", p.User)
		w.secret("password", p.Password)
		w.text("sslmode", p.SSLMode)
		w.text("ca", p.CA)
		w.text("client_certificate", p.ClientCertificate)
		w.secret("client_key", p.ClientKey)
		w.text("statement_timeout", resource.FormatDuration(p.StatementTimeout))
		w.text("state_schema", p.StateSchema)
	})
}

func (w *writer) model(m *resource.DataModel) {
	w.head(m)
	w.text("connection", m.Connection)
	w.text("record_kind", string(m.Kind))
	w.text("sql", m.SQL)
	w.text("table", m.Table)
	w.texts("key_columns", m.KeyColumns)
	w.text("group_type", m.GroupType)
	w.text("start_time", m.StartTime)
	w.texts("enrich", m.Enrich)
	it := m.Iterator
	if it == (resource.Iterator{}) {
		return
	}
	w.object("iterator", true, func(w *writer) {
		w.text("column", it.Column)
		w.text("type", string(it.Type))
		w.text("time_zone", it.TimeZone)
		if it.ReadNulls {
			w.text("nulls", "read")
		}
	})
}

func (w *writer) mapping(m *resource.Mapping) {
	w.head(m)
	if e := m.Events; e != nil {
		w.object("events", false, func(w *writer) {
			w.text("time", e.Time)
			w.text("name", e.Name)
			if e.NameStatic != "" {
				w.object("name", true, func(w *writer) { w.text("static", e.NameStatic) })
			}
			w.text("user_id", e.UserID)
			w.text("device_id", e.DeviceID)
			w.text("properties", e.Properties)
		})
	}
	w.rules(m.Rules)
}

func (w *writer) rules(rules []resource.Rule) {
	if len(rules) == 0 {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range rules {
		in := &writer{flow: rules[i].Object == ""}
		in.rule(&rules[i])
		list.Content = append(list.Content, in.node())
	}
	w.put("rules", list)
}

func (w *writer) rule(r *resource.Rule) {
	w.text("column", r.Column)
	if r.HasStatic {
		w.put("static", valueNode(r.Static))
	}
	w.text("expression", r.Expression)
	w.text("ignore", r.Ignore)
	w.text("object", r.Object)
	w.text("to", r.To)
	w.text("type", r.Type)
	w.text("on_null", r.OnNull)
	if r.HasDefault {
		w.put("default", valueNode(r.Default))
	}
	w.text("on_loss", r.OnLoss)
	w.texts("transform", r.Transform)
	w.rules(r.Rules)
}

func valueNode(v any) *yaml.Node {
	switch v := v.(type) {
	case string:
		return textNode(v, false)
	case bool:
		return scalarNode(strconv.FormatBool(v))
	case int64:
		return scalarNode(strconv.FormatInt(v, 10))
	case float64:
		return scalarNode(formatFloat(v))
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, e := range v {
			n.Content = append(n.Content, valueNode(e))
		}
		return n
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, k := range sortedKeys(v) {
			n.Content = append(n.Content, textNode(k, false), valueNode(v[k]))
		}
		return n
	default:
		return scalarNode("null")
	}
}

// formatFloat answers the shortest text that reads back as the same float, never as a whole number.
func formatFloat(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if v == math.Trunc(v) && !strings.ContainsAny(s, ".e") {
		return s + ".0"
	}
	return s
}

func (w *writer) sync(s *resource.Sync) {
	w.head(s)
	w.text("data_model", s.DataModel)
	w.text("mapping", s.Mapping)
	w.text("feed", s.Feed)
	w.text("mode", string(s.Mode))
	w.text("on_delete", string(s.OnDelete))
	w.text("mirror_engine", string(s.MirrorEngine))
	w.object("schedule", true, func(w *writer) {
		sc := s.Schedule
		w.text("every", sc.Every)
		w.time("start", sc.Start)
		w.text("cron", sc.Cron)
		w.text("time_zone", sc.TimeZone)
		w.time("once", sc.Once)
		w.texts("after", sc.After)
		if len(w.content) == 0 {
			w.object("on_demand", true, func(*writer) {})
		}
	})
	w.time("from", s.From)
	w.time("until", s.Until)
	w.text("lookback", resource.FormatDuration(s.Lookback))
	w.text("delay", resource.FormatDuration(s.Delay))
	w.text("freshness", resource.FormatDuration(s.Freshness))
	w.text("state", string(s.State))
	w.text("trigger_limit", s.TriggerLimit)
	if s.Drift != (resource.Drift{}) {
		w.object("drift", true, func(w *writer) {
			w.text("added", string(s.Drift.Added))
			w.text("dropped", string(s.Drift.Dropped))
			w.text("narrowed", string(s.Drift.Narrowed))
		})
	}
	w.guard(s.Guard)
	if s.RejectLimit != (resource.RejectLimit{}) {
		w.object("reject_limit", true, func(w *writer) {
			w.number("percent", s.RejectLimit.Percent)
			w.number("of", float64(s.RejectLimit.Of))
		})
	}
	if s.Budget != (resource.Budget{}) {
		w.object("budget", true, func(w *writer) { w.text("bytes_scanned", resource.FormatBytes(s.Budget.BytesScanned)) })
	}
}

func (w *writer) guard(g resource.Guard) {
	if g.IsZero() {
		return
	}
	w.object("guard", false, func(w *writer) {
		for _, x := range []struct {
			name  string
			limit *resource.GuardLimit
		}{{"deletes", g.Deletes}, {"updates", g.Updates}, {"nulls", g.Nulls}} {
			if x.limit != nil {
				w.object(x.name, true, func(w *writer) {
					w.number("max_percent", x.limit.MaxPercent)
					w.number("min_rows", float64(x.limit.MinRows))
				})
			}
		}
		if g.Rows != nil {
			w.object("rows", true, func(w *writer) { w.number("min_percent_of_average", g.Rows.MinPercentOfAverage) })
		}
		w.text("on_breach", string(g.OnBreach))
	})
}
