package browser_test

import (
	_ "embed"
	"slices"
)

//go:embed obstacles.js
var obstaclesScript string

// named are the roles of what can not be used without a name.
var named = []string{"button", "link", "textbox", "searchbox", "spinbutton", "combobox", "listbox", "checkbox", "radio", "switch", "tab", "menuitem", "image", "img", "dialog", "progressbar", "meter"}

// obstacles answers what on the page stands in the way of those who do not see it, or hardly.
func (p *page) obstacles() []string {
	found := eval[[]string](p, obstaclesScript)
	for _, n := range p.nodes() {
		if n.name == "" && slices.Contains(named, n.role) {
			found = append(found, "a "+n.role+" without a name")
		}
	}
	return found
}
