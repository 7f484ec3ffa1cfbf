package profile_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"millrace.dev/pkg/id"
	"millrace.dev/pkg/profile"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/record/recordtest"
	"millrace.dev/pkg/resource"
)

// A case file is a history and what comes of it. Its sections are, in order:
//
//	batch WORDS     rows, one JSON object a line, committed as one batch. Words: sync=crm run=1 part=1 epoch=1 seq=0 full
//	                protection=update_only retries=1 adopted=2,3 clears=plan opens=props; read=1 of a replay
//	                mirror: of a mode mirror; on_delete=delete_profile
//	                events, groups, history or lookup: what the rows are, else users; lookup: table=2 current=1, the
//	                generation that the run fills and the one that readers see; groups and history: type=company
//	                env=dev: of that environment; group_types=company: attributes that name groups
//	absent WORDS    keys that a complete read of a mirror lacked, one a line; words as of a batch
//	counts          what became of the batch before: counts that are not zero
//	rejects         the rejects of the batch before: key values, stage, rule
//	fence WORDS     run=1 part=1 epoch=2
//	types           every attribute with its type, of batches with conflict=widen, reject or text
//	profiles        every profile: its identities, attributes and where they come from; env=dev; type=company: every group
//	events          every event: whose it is, time, type, data; env=dev
//	history AT      what histories say of each profile at an instant; type=company: of each group
//	lookup WORDS    the rows of a table: sync=products table=1
//	members WORDS   who says that he is in a group: company=acme
//	settings        the workspace's strategy and what belongs to it, as words: strategy=graph limits=email=5;alias=1
//	                unique=… login=… immutable=… priority=… max_merges=100 max_mappings=1000
//	merges          the log: what was merged, stopped or linked, by which rule and value, what moved
//	erase TYPE=VALUE  erases the person that the identity names
//	sighted         how many keys the batch before says that it has read; of a mirror
//	undo merge=N    takes back the N-th merge of the log as it was last shown
//	identities      every identity whose profile is another's, as type=value -> the other's first identity
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) { runCase(t, f) })
	}
}

func runCase(t *testing.T, path string) {
	a, err := txtar.ParseFile(path)
	require.NoError(t, err)
	w := worlds{}
	m := w.in(profile.Scope{})
	var last profile.Effects
	rules := profile.Rules{}
	var log []profile.MergeID
	seq := uint32(0)
	got := &txtar.Archive{Comment: a.Comment}
	for _, f := range a.Files {
		name, words := split(f.Name)
		text := string(f.Data)
		switch name {
		case "batch":
			last = runBatch(t, w.of(words), rules, words, text, &seq)
		case "absent":
			last = runAbsent(t, w.of(words), rules, words, text, &seq)
		case "fence":
			w.of(words).fences[profile.RunPart{RunNo: number(t, words, "run", 1), Part: uint32(number(t, words, "part", 1))}] = uint32(number(t, words, "epoch", 1))
		case "counts":
			text = countsText(t, last.Result.Counts)
		case "rejects":
			text = ""
			for _, r := range last.Rejects {
				text += fmt.Sprintf("%s %s %s\n", r.KeyValues, r.Stage, r.Rule)
			}
		case "types":
			text = ""
			for _, name := range slices.Sorted(maps.Keys(m.types)) {
				text += fmt.Sprintf("%s %s\n", name, m.types[name])
			}
		case "profiles":
			text = profilesText(t, w.of(words))
		case "events":
			text = eventsText(t, w.of(words))
		case "history":
			text = historyText(t, w.of(words), words["at"])
		case "lookup":
			text = lookupText(t, w.of(with(words, "lookup", "")), number(t, words, "table", 0))
		case "members":
			text = membersText(t, m, words)
		case "settings":
			rules = strategyOf(t, words)
		case "merges":
			text, log = mergesText(t, m)
		case "erase":
			for typ, value := range words {
				m.erase(t, profile.Identity{Type: typ, Value: value})
			}
		case "sighted":
			text = fmt.Sprintf("%d\n", len(last.Sighted))
		case "undo":
			m.undo(t, log[number(t, words, "merge", 1)-1])
		default:
			t.Fatalf("%s: no section is called %q", path, name)
		}
		got.Files = append(got.Files, txtar.File{Name: f.Name, Data: []byte(text)})
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, txtar.Format(got), 0o600))
		return
	}
	require.Equal(t, string(want), string(txtar.Format(got)))
}

func split(name string) (string, map[string]string) {
	f := strings.Fields(name)
	words := map[string]string{}
	for _, w := range f[1:] {
		k, v, _ := strings.Cut(w, "=")
		words[k] = v
	}
	return f[0], words
}

func number(t *testing.T, words map[string]string, key string, otherwise int64) int64 {
	t.Helper()
	s, ok := words[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseInt(s, 10, 64)
	require.NoError(t, err)
	return n
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

func runBatch(t *testing.T, m *model, rules profile.Rules, words map[string]string, text string, seq *uint32) profile.Effects {
	t.Helper()
	o := originOf(t, words, seq)
	var rows []recordtest.Row
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		rows = append(rows, rowOf(t, lines.Text()))
	}
	b := recordtest.Batch(kindOf(words), rows, recordtest.Options{Clears: list(words["clears"]), Opens: list(words["opens"])})
	rules = rulesOf(rules, words)
	if policy, ok := words["conflict"]; ok {
		rules.Typing = profile.TypingOf(b, m.types, profile.OnConflict(policy))
		for _, w := range rules.Typing.Writes {
			require.Equal(t, m.types[w.Name], w.From)
			m.types[w.Name] = w.To
		}
	}
	return m.apply(t, b, o, rules)
}

func runAbsent(t *testing.T, m *model, rules profile.Rules, words map[string]string, text string, seq *uint32) profile.Effects {
	t.Helper()
	o := originOf(t, words, seq)
	o.Full, o.Mirror = true, true
	b := record.Batch{Kind: kindOf(words), Absent: []id.Row{}}
	for key := range strings.FieldsSeq(text) {
		b.Absent = append(b.Absent, recordtest.Key(key))
	}
	return m.apply(t, b, o, rulesOf(rules, words))
}

func rulesOf(r profile.Rules, words map[string]string) profile.Rules {
	r.Protection, r.OnDelete = resource.Protection(words["protection"]), resource.OnDelete(words["on_delete"])
	r.GroupTypes = list(words["group_types"])
	r.Table.Generation, _ = strconv.ParseInt(words["table"], 10, 64)
	r.Table.Current, _ = strconv.ParseInt(words["current"], 10, 64)
	return r
}

func kindOf(words map[string]string) record.Kind {
	for word, kind := range map[string]record.Kind{"events": record.Events, "groups": record.Groups, "lookup": record.Lookup, "history": record.History} {
		if _, ok := words[word]; ok {
			return kind
		}
	}
	return record.Users
}

func originOf(t *testing.T, words map[string]string, seq *uint32) record.Origin {
	t.Helper()
	*seq++
	o := origin(number(t, words, "run", 1), uint32(number(t, words, "part", 1)), uint32(number(t, words, "epoch", 1)), uint32(number(t, words, "seq", int64(*seq))))
	if s, ok := words["sync"]; ok {
		o.Sync, o.SyncID = syncOf(s), s
	}
	_, o.Mirror = words["mirror"]
	_, o.Full = words["full"]
	o.Full = o.Full || o.Mirror
	o.Sights = o.Mirror
	o.ReadRunNo = number(t, words, "read", 0)
	for _, r := range list(words["retries"]) {
		n, err := strconv.ParseInt(r, 10, 64)
		require.NoError(t, err)
		retried := record.RetriedRun{RunNo: n}
		for _, p := range list(words["adopted"]) {
			part, err := strconv.ParseUint(p, 10, 32)
			require.NoError(t, err)
			retried.Adopted = append(retried.Adopted, uint32(part))
		}
		o.Retried = append(o.Retried, retried)
	}
	return o
}

func rowOf(t *testing.T, line string) recordtest.Row {
	t.Helper()
	var j struct {
		Key        string
		Time       time.Time
		Start      time.Time
		Late       bool
		ID         map[string]string
		Attributes map[string]any
		EventType  string `json:"event_type"`
		Data       map[string]any
		Ignored    string
	}
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&j), line)
	return recordtest.Row{
		Key: j.Key, Time: j.Time, Start: j.Start, Late: j.Late, Identities: j.ID, Attributes: values(j.Attributes), EventType: j.EventType,
		Data: values(j.Data), Ignored: j.Ignored,
	}
}

// values turns what JSON can not tell apart: "decimal 7.00", "instant 2026-…" and "json {…}".
func values(m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case json.Number:
			if n, err := v.Int64(); err == nil {
				m[k] = n
			} else {
				m[k], _ = v.Float64()
			}
		case string:
			if s, ok := strings.CutPrefix(v, "decimal "); ok {
				m[k], _ = new(big.Rat).SetString(s)
			} else if s, ok := strings.CutPrefix(v, "instant "); ok {
				m[k], _ = time.Parse(time.RFC3339Nano, s)
			} else if s, ok := strings.CutPrefix(v, "json "); ok {
				m[k] = json.RawMessage(s)
			}
		case map[string]any:
			m[k] = values(v)
		}
	}
	return m
}

func countsText(t *testing.T, c record.Counts) string {
	t.Helper()
	var out []string
	for _, n := range []struct {
		name string
		n    int64
	}{
		{"created", c.Created}, {"updated", c.Updated}, {"unchanged", c.Unchanged}, {"deleted", c.Deleted},
		{"protected", c.Protected}, {"refused", c.Refused}, {"late_rows", c.LateRows}, {"collapsed", c.Collapsed},
		{"unattributed", c.Unattributed}, {"merges", c.Merges}, {"blocked", c.Blocked},
	} {
		if n.n != 0 {
			out = append(out, fmt.Sprintf("%s=%d", n.name, n.n))
		}
	}
	return strings.Join(out, " ") + "\n"
}

func title(p profile.Profile) string {
	var ids []string
	for _, i := range p.Identities {
		ids = append(ids, i.Type+"="+i.Value)
	}
	return strings.Join(ids, " ")
}

func profilesText(t *testing.T, m *model) string {
	t.Helper()
	var out []string
	for q := range m.docs {
		doc := m.whole(q)
		if doc == nil {
			continue
		}
		p, err := profile.Decode(doc)
		require.NoError(t, err)
		s := title(p) + "\n"
		for _, a := range p.Attributes {
			when := "no time"
			if a.From.HasTime {
				when = a.From.RowTime().Format(time.RFC3339Nano)
			}
			s += fmt.Sprintf("  %s: %s (%s run %d row %s, %s)\n", a.Name, a.Value.AppendJSON(nil), a.From.SyncID, a.From.Version.RunNo, a.From.KeyValues, when)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

func eventsText(t *testing.T, m *model) string {
	t.Helper()
	names := map[id.Profile]string{0: "nobody"}
	for p := range m.docs {
		d, err := profile.Decode(m.whole(m.survivor(p)))
		require.NoError(t, err)
		names[p] = title(d)
	}
	for k := range m.events {
		if _, ok := names[k.Profile]; !ok {
			names[k.Profile] = "somebody gone"
		}
	}
	var out []string
	for p, name := range names {
		for _, k := range m.eventsOf(p) {
			e, err := profile.DecodeEvent(m.events[k])
			require.NoError(t, err)
			out = append(out, fmt.Sprintf("%s: %d %s %s\n", name, k.Time, e.Type, e.Data.AppendJSON(nil)))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}
