package e2e_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// TestDashboardsAndAlertsAskForWhatIsExported runs a sync with rejects in one process, and holds that every expression of
// deploy/ asks for metrics and labels that the process exports, and that deploy/README.md tells what each metric means.
func TestDashboardsAndAlertsAskForWhatIsExported(t *testing.T) {
	c, m := oneChild(t)
	web := freeAddress(t)
	c.args[slices.Index(c.args, "--http")+1] = web
	c.start(t)
	c.ready(t)
	m.apply(t, "", asFirst(newBadWarehouse(t)))
	m.end(t, m.trigger(t, "customers"))
	var exported map[string]*dto.MetricFamily
	eventually(t, "the sync's metrics are exported", func() bool {
		exported = scrape(t, web)
		return exported["millrace_scheduler_sync_fresh_timestamp_seconds"] != nil && exported["millrace_telemetry_spans_total"] != nil
	})
	expressions := append(dashboards(t), alerts(t)...)
	require.Greater(t, len(expressions), 30)
	for _, text := range expressions {
		requireExported(t, exported, text)
	}

	readme, err := os.ReadFile("../../deploy/README.md")
	require.NoError(t, err)
	var told []string
	for _, hit := range regexp.MustCompile("(?m)^\\| `(millrace_[a-z_]+)`").FindAllStringSubmatch(string(readme), -1) {
		told = append(told, hit[1])
	}
	slices.Sort(told)
	ours := slices.DeleteFunc(slices.Sorted(maps.Keys(exported)), func(name string) bool { return !strings.HasPrefix(name, "millrace_") })
	require.Subset(t, told, ours, "deploy/README.md leaves metrics out")
}

// scrape answers what a process exports.
func scrape(t *testing.T, web string) map[string]*dto.MetricFamily {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+web+"/metrics", http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	require.NoError(t, err)
	return families
}

// dashboards answers the expressions of all dashboards, with values for what Grafana fills in.
func dashboards(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var out []string
	for _, f := range files {
		var board struct {
			Panels []struct {
				Title, Description string
				Targets            []struct{ Expr string }
			}
		}
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &board), f)
		for _, p := range board.Panels {
			require.NotEmpty(t, p.Description, "%s: %s", f, p.Title)
			for _, x := range p.Targets {
				out = append(out, strings.NewReplacer("$__rate_interval", "5m", "$workspace", ".*").Replace(x.Expr))
			}
		}
	}
	return out
}

// alerts answers the expressions of all alert rules.
func alerts(t *testing.T) []string {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	text, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(text, &rules))
	var out []string
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, r.Annotations["description"], r.Alert)
			out = append(out, r.Expr)
		}
	}
	return out
}

// requireExported holds that an expression can be read, and asks for metrics and labels that there are.
func requireExported(t *testing.T, exported map[string]*dto.MetricFamily, text string) {
	t.Helper()
	e, err := metricsql.Parse(text)
	require.NoError(t, err, text)
	asks := 0
	metricsql.VisitAll(e, func(e metricsql.Expr) {
		m, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		for _, filters := range m.LabelFilterss {
			name := filters[0].Value
			asks++
			if name == "up" { // which Prometheus itself has
				continue
			}
			family := exported[name]
			if family == nil {
				family = exported[strings.TrimSuffix(name, "_bucket")]
			}
			require.NotNil(t, family, "%s: nothing exports %s", text, name)
			for _, f := range filters[1:] {
				require.True(t, slices.ContainsFunc(family.GetMetric()[0].GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == f.Label }), "%s: %s has no label %s", text, name, f.Label)
			}
		}
	})
	require.Positive(t, asks, text)
}
