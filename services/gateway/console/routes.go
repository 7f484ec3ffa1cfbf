package console

import (
	"net/http"
	"slices"

	"millrace.dev/pkg/fault"
)

// route leads requests that match a pattern of net/http's to the function that answers their view.
type route struct {
	pattern string
	answer  func(r *request) (view, error)
}

// streamRoute leads requests to the function that sends events until it returns.
type streamRoute struct {
	pattern string
	answer  func(r *request, send sender) error
}

// routes are all pages, by parts of the console.
func (c *Console) routes() []route {
	all := []route{{"GET /{$}", func(*request) (view, error) { return seeOther("/w/default/syncs"), nil }}}
	for _, part := range [][]route{
		c.syncRoutes(), c.wizardRoutes(), c.runRoutes(), c.rejectRoutes(), c.traceRoutes(), c.profileRoutes(), c.connectionRoutes(), c.alertRoutes(), c.documentRoutes(),
	} {
		all = append(all, part...)
	}
	return all
}

// streams are all streams of events.
func (c *Console) streams() []streamRoute {
	return slices.Concat(c.runStreams(), c.syncStreams(), c.traceStreams())
}

// downloads are files that have the time that they take, until the process ends.
func (c *Console) downloads() []route { return c.rejectDownloads() }

// nowhere answers what no route answers.
func nowhere(r *request) (view, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "nothing is done at this address")
	}
	return nil, fault.New(fault.NotFound, fault.ReasonNotFound, "there is no such page")
}
