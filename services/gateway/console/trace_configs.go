package console

import (
	"strconv"
	"strings"

	tracev1 "millrace.dev/gen/millrace/trace/v1"
	"millrace.dev/pkg/fault"
)

const traceConfigsOnPage = 1000

// traceConfigsPage is the list of the configurations that say which traces are kept, with the form of a new one.
type traceConfigsPage struct {
	Configs []traceConfigRow
	More    bool // there are further ones, which are not shown
	Form    traceConfigForm
	Stages  []choice
}

// traceConfigRow is a configuration in words.
type traceConfigRow struct {
	Config *tracev1.TraceConfig
	Whose  string
	Stages string
	Which  string
}

// traceConfigForm is a new configuration as it was typed.
type traceConfigForm struct {
	ID, Syncs, Feeds, From, Until, Sampling, OneIn string
	Stages                                         map[string]bool
}

func (c *Console) listTraceConfigs(r *request) (view, error) {
	return c.traceConfigs(r, traceConfigForm{Sampling: "all"}, nil)
}

// traceConfigs answers the page of configurations with a form, and what was wrong with it.
func (c *Console) traceConfigs(r *request, form traceConfigForm, failed error) (view, error) {
	res, err := c.trace.ListTraceConfigs(r.Context(), &tracev1.ListTraceConfigsRequest{Workspace: r.workspace, PageSize: traceConfigsOnPage})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	p := traceConfigsPage{Form: form, Stages: traceStages[1:], More: res.GetNextPageToken() != ""}
	for _, x := range res.GetConfigs() {
		p.Configs = append(p.Configs, traceConfigRowOf(x))
	}
	return page{name: "trace_configs", title: "Which traces are kept", section: "traces", data: p, failure: failed}, nil
}

func traceConfigRowOf(x *tracev1.TraceConfig) traceConfigRow {
	row := traceConfigRow{Config: x, Whose: "of every sync", Stages: "all", Which: "all"}
	var whose []string
	if len(x.GetSyncs()) > 0 {
		whose = append(whose, "of the syncs "+someOf(x.GetSyncs()))
	}
	if len(x.GetFeeds()) > 0 {
		whose = append(whose, "of the feeds "+someOf(x.GetFeeds()))
	}
	if len(whose) > 0 {
		row.Whose = strings.Join(whose, ", or ")
	}
	if len(x.GetStages()) > 0 {
		row.Stages = strings.Join(x.GetStages(), ", ")
	}
	switch x.GetSampling() {
	case tracev1.Sampling_SAMPLING_ERRORS:
		row.Which = "with an error"
	case tracev1.Sampling_SAMPLING_ONE_IN:
		row.Which = "one in " + number(x.GetOneIn())
	}
	return row
}

// someOf answers the first names, and how many more there are.
func someOf(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + " and " + number(len(names)-most) + " more"
}

func (c *Console) createTraceConfig(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	form := traceConfigFormOf(r)
	config, err := form.config()
	if err == nil {
		_, err = c.trace.CreateTraceConfig(r.Context(), &tracev1.CreateTraceConfigRequest{Workspace: r.workspace, Config: config})
	}
	if err != nil {
		return c.traceConfigs(r, form, err)
	}
	return after(r.path("traces", "configs"), "created"), nil
}

func (c *Console) deleteTraceConfig(r *request) (view, error) {
	_, err := c.trace.DeleteTraceConfig(r.Context(), &tracev1.DeleteTraceConfigRequest{Workspace: r.workspace, Id: r.PathValue("config")})
	if err != nil {
		return nil, err //nolint:wrapcheck // classified
	}
	return after(r.path("traces", "configs"), "deleted"), nil
}

func traceConfigFormOf(r *request) traceConfigForm {
	f := traceConfigForm{
		ID: strings.TrimSpace(r.PostFormValue("id")), Syncs: r.PostFormValue("syncs"), Feeds: r.PostFormValue("feeds"), From: r.PostFormValue("from"),
		Until: r.PostFormValue("until"), Sampling: r.PostFormValue("sampling"), OneIn: strings.TrimSpace(r.PostFormValue("one_in")), Stages: map[string]bool{},
	}
	for _, stage := range r.PostForm["stage"] {
		f.Stages[stage] = true
	}
	return f
}

// config answers the configuration that was typed. Invalid where an instant can not be read.
func (f traceConfigForm) config() (*tracev1.TraceConfig, error) {
	var vs []fault.Violation
	x := &tracev1.TraceConfig{Id: f.ID, Syncs: namesIn(f.Syncs), Feeds: namesIn(f.Feeds)}
	x.From, vs = traceInstant("from", f.From, vs)
	x.Until, vs = traceInstant("until", f.Until, vs)
	for _, stage := range traceStages[1:] {
		if f.Stages[stage.Value] {
			x.Stages = append(x.Stages, stage.Value)
		}
	}
	switch f.Sampling {
	case "errors":
		x.Sampling = tracev1.Sampling_SAMPLING_ERRORS
	case "one_in":
		x.Sampling = tracev1.Sampling_SAMPLING_ONE_IN
		n, _ := strconv.ParseInt(f.OneIn, 10, 32) // what is no number is 0, which the service refuses with all else
		x.OneIn = int32(n)
	default:
		x.Sampling = tracev1.Sampling_SAMPLING_ALL
	}
	return x, fault.Of(fault.ReasonInvalidArgument, vs) //nolint:wrapcheck // born classified
}

// namesIn answers the names in a text, apart by commas or white space.
func namesIn(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
}
