package resource

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
)

// Bounds of what a resource may hold.
const (
	maxName      = 255
	maxLabels    = 64
	maxLabelKey  = 128
	maxLabelText = 256
	maxText      = 4096    // hosts, users, paths, tables
	maxBody      = 1 << 20 // SQL, PEM, expressions, secrets
	maxKeys      = 64
	maxRules     = 10_000
	maxSpan      = 366 * 24 * time.Hour // lookback, delay, statement timeout
)

// patternID is what ids look like.
const patternID = `[a-z0-9_-]{1,64}`

// faults collects the violations of one resource.
type faults struct {
	kind Kind
	id   string
	out  []fault.Violation
}

func newFaults(r Resource) *faults { return &faults{kind: r.ResourceKind(), id: r.Head().ID} }

func (f *faults) add(field, fix, format string, args ...any) {
	f.out = append(f.out, fault.Violation{Kind: string(f.kind), ID: f.id, Field: field, Message: fmt.Sprintf(format, args...), Fix: fix})
}

// ValidID says whether s can name a resource.
func ValidID(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && span(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}) == len(s)
}

// reference checks that text names a resource.
func (f *faults) reference(field, text string, required bool) {
	switch {
	case text == "" && required:
		f.add(field, "name one by its id", "is missing")
	case text != "" && !ValidID(text):
		f.add(field, "ids match "+patternID, "%q cannot be an id", clip(text))
	}
}

// text checks a value that is required, or may be left out, and is one line.
func (f *faults) text(field, value string, required bool) {
	switch {
	case value == "" && required:
		f.add(field, "add it", "is missing")
	case len(value) > maxText:
		f.add(field, "shorten it", "is longer than %d bytes", maxText)
	case !clean(value):
		f.add(field, "remove them", "has control characters or is no UTF-8")
	}
}

// body checks a value of several lines.
func (f *faults) body(field, value string) {
	switch {
	case len(value) > maxBody:
		f.add(field, "shorten it", "is longer than %d bytes", maxBody)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		f.add(field, "write it as UTF-8 text", "is no text")
	}
}

// oneOf checks that value is one of words; empty is missing where required.
func (f *faults) oneOf(field, value string, required bool, words ...string) {
	if value == "" && !required || slices.Contains(words, value) {
		return
	}
	if value == "" {
		f.add(field, "use "+alternatives(words), "is missing")
		return
	}
	f.add(field, "use "+alternatives(words), "unknown value %q", clip(value))
}

func alternatives(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// shown is how much of a faulty value a message shows, in characters.
const shown = 64

func clip(s string) string {
	n := 0
	for i := range s {
		if n++; n > shown {
			return s[:i] + "…"
		}
	}
	return s
}

func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// zone checks an IANA name; empty is UTC.
func (f *faults) zone(field, name string) {
	if name == "" {
		return
	}
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		f.add(field, "use an IANA name such as UTC or Europe/Berlin", "unknown time zone %q", clip(name))
	}
}

func (f *faults) duration(field string, d time.Duration) {
	if d < 0 || d > maxSpan {
		f.add(field, "use up to "+FormatDuration(maxSpan), "%s is out of bounds", FormatDuration(d))
	}
}

// labelKey is what labels' keys look like.
func labelKey(s string) bool {
	return len(s) >= 1 && len(s) <= maxLabelKey && span(s, func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_-./", c) >= 0
	}) == len(s)
}

func (f *faults) meta(m Meta) {
	switch {
	case m.ID == "":
		f.add("id", "choose one that matches "+patternID, "is missing")
	case !ValidID(m.ID):
		f.add("id", "ids match "+patternID, "%q cannot be an id", clip(m.ID))
	}
	switch n := utf8.RuneCountInString(m.DisplayName); {
	case n < 1 || n > maxName:
		f.add("display_name", fmt.Sprintf("use 1 to %d", maxName), "has %d characters", n)
	case !clean(m.DisplayName):
		f.add("display_name", "remove them", "has control characters or is no UTF-8")
	}
	if len(m.Labels) > maxLabels {
		f.add("labels", fmt.Sprintf("keep at most %d", maxLabels), "there are %d labels", len(m.Labels))
		return
	}
	for _, k := range sortedKeys(m.Labels) {
		if !labelKey(k) {
			f.add("labels", fmt.Sprintf("use 1 to %d letters, digits and _ - . /", maxLabelKey), "%q cannot be a label's key", clip(k))
			continue
		}
		if v := m.Labels[k]; len(v) > maxLabelText || !clean(v) {
			f.add("labels."+k, fmt.Sprintf("use at most %d bytes of plain text", maxLabelText), "cannot be a label's value")
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (m *Meta) normalize() {
	m.Workspace = m.Workspace.Or()
	if m.DisplayName == "" {
		m.DisplayName = m.ID
	}
}

// ResourceKind answers KindFeed.
func (*Feed) ResourceKind() Kind { return KindFeed }

// Normalize fills in what was left out: prod, create_and_update.
func (f *Feed) Normalize() {
	f.normalize()
	if f.Environment == "" {
		f.Environment = Prod
	}
	if f.Protection == "" {
		f.Protection = CreateAndUpdate
	}
}

// Validate reports every rule that f breaks.
func (f *Feed) Validate() []fault.Violation {
	c := newFaults(f)
	c.meta(f.Meta)
	c.oneOf("environment", string(f.Environment), true, string(Prod), string(Dev))
	c.oneOf("input_protection", string(f.Protection), true, string(CreateAndUpdate), string(UpdateOnly), string(ReadOnly))
	return c.out
}

// BuiltInFeed is the feed of syncs that name none, unless the workspace has one with the id `default`.
func BuiltInFeed() Feed {
	f := Feed{Meta: Meta{ID: DefaultFeed}}
	f.Normalize()
	return f
}

// ResourceKind answers KindDataModel.
func (*DataModel) ResourceKind() Kind { return KindDataModel }

// Normalize fills in what was left out.
func (m *DataModel) Normalize() { m.normalize() }

// Validate reports every rule that m breaks.
func (m *DataModel) Validate() []fault.Violation {
	c := newFaults(m)
	c.meta(m.Meta)
	c.reference("connection", m.Connection, true)
	c.oneOf("record_kind", string(m.Kind), true, string(Users), string(Events), string(Groups), string(Lookup), string(ProfileHistory))
	switch {
	case m.SQL == "" && m.Table == "":
		c.add("sql", "write one SELECT in sql, or a table's name in table", "is missing")
	case m.SQL != "" && m.Table != "":
		c.add("table", "keep one of them", "stands beside sql")
	case m.SQL != "":
		c.body("sql", m.SQL)
		if strings.TrimSpace(m.SQL) == "" {
			c.add("sql", "write one SELECT", "is empty")
		}
	default:
		c.text("table", m.Table, true)
	}
	m.validateKeys(c)
	m.validateIterator(c)
	m.validateKind(c)
	return c.out
}

func (m *DataModel) validateKeys(c *faults) {
	if len(m.KeyColumns) > maxKeys {
		c.add("key_columns", fmt.Sprintf("use at most %d", maxKeys), "there are %d", len(m.KeyColumns))
		return
	}
	seen := map[string]bool{}
	for i, k := range m.KeyColumns {
		field := fmt.Sprintf("key_columns[%d]", i)
		c.text(field, k, true)
		if seen[k] && k != "" {
			c.add(field, "name each column once", "%q stands there twice", clip(k))
		}
		seen[k] = true
	}
}

func (m *DataModel) validateIterator(c *faults) {
	it := m.Iterator
	if it == (Iterator{}) {
		return
	}
	c.text("iterator.column", it.Column, true)
	c.oneOf("iterator.type", string(it.Type), true, string(IteratorTimestamp), string(IteratorDate), string(IteratorInteger), string(IteratorDecimal))
	c.zone("iterator.time_zone", it.TimeZone)
}
