package browser_test

import "testing"

// TestPictures takes the README's pictures (make pictures): the demo after some runs, one of which had rejects.
func TestPictures(t *testing.T) {
	c := start(t, 1000).in("default")
	c.applyShop(t)
	c.apply(t, visitsDocuments(asNumber))
	rejected := c.run(t, "visits")
	for range 3 {
		for _, sync := range []string{"customers", "orders"} {
			c.run(t, sync)
		}
	}
	trace := c.traced(t, c.full(t, "customers").GetId())
	p := open(t, c.base)
	for _, x := range []struct{ name, path string }{
		{"run", "/runs/" + rejected.GetId()}, {"trace", "/traces/" + trace}, {"mapping", "/new/visits/map"},
	} {
		p.visit(c.path(x.path))
		p.shows(x.name)
	}
	p.prefer("dark")
	p.visit(c.path("/runs/" + rejected.GetId()))
	p.shows("run-dark")
}
