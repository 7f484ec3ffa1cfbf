package browser_test

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// node is something on a page as a screen reader knows it.
type node struct {
	role, name, value string
	focused, disabled bool
	checked           bool
	id                int64 // of its element; 0 where it has none
}

// axNode is a node as the DevTools protocol has it.
type axNode struct {
	Ignored          bool
	Role, Name       axValue
	Value            axValue
	BackendDOMNodeID int64 `json:"backendDOMNodeId"`
	Properties       []struct {
		Name  string
		Value axValue
	}
}

type axValue struct{ Value json.RawMessage }

// text answers a value as a text.
func (v axValue) text() string {
	var s string
	if json.Unmarshal(v.Value, &s) == nil {
		return s
	}
	return string(v.Value)
}

// nodes answers what is on the page in its order; nothing where it is just left.
func (p *page) nodes() []node {
	var res struct{ Nodes []axNode }
	if p.call("Accessibility.getFullAXTree", object{}, &res) != nil {
		return nil
	}
	var out []node
	for _, n := range res.Nodes {
		if n.Ignored {
			continue
		}
		x := node{role: n.Role.text(), name: strings.Join(strings.Fields(n.Name.text()), " "), value: n.Value.text(), id: n.BackendDOMNodeID}
		for _, property := range n.Properties {
			on := property.Value.text() == "true"
			switch property.Name {
			case "focused":
				x.focused = on
			case "disabled":
				x.disabled = on
			case "checked":
				x.checked = on
			}
		}
		out = append(out, x)
	}
	return out
}

// called says whether a node has one of the roles (separated by |) and a name; one that ends with … begins so.
func (n node) called(roles, name string) bool {
	if !slices.Contains(strings.Split(roles, "|"), n.role) {
		return false
	}
	if begin, cut := strings.CutSuffix(name, "…"); cut {
		return strings.HasPrefix(n.name, begin)
	}
	return n.name == name
}

// find answers the first node of a role and name, and whether there is one.
func (p *page) find(roles, name string) (node, bool) {
	all := p.nodes()
	at := slices.IndexFunc(all, func(n node) bool { return n.called(roles, name) })
	if at < 0 {
		return node{}, false
	}
	return all[at], true
}

// has waits until there is such a node.
func (p *page) has(roles, name string) node {
	p.t.Helper()
	var found node
	p.until("there is a "+roles+" "+name, func() (ok bool) {
		found, ok = p.find(roles, name)
		return ok
	})
	return found
}

// hasNot waits until there is no such node.
func (p *page) hasNot(roles, name string) {
	p.t.Helper()
	p.until("there is no "+roles+" "+name, func() bool {
		all := p.nodes()
		return len(all) > 0 && !slices.ContainsFunc(all, func(n node) bool { return n.called(roles, name) })
	})
}

// click clicks on the middle of what has a role and a name, once it is there and can be used.
func (p *page) click(roles, name string) {
	p.t.Helper()
	p.until("one can click on a "+roles+" "+name, func() bool {
		n, ok := p.find(roles, name)
		return ok && !n.disabled && p.clickOn(n)
	})
}

// clickOn clicks on a node, and says whether it could: a live page may just have put another in its place.
func (p *page) clickOn(n node) bool {
	of := object{"backendNodeId": n.id}
	var res struct{ Quads [][]float64 }
	if p.call("DOM.scrollIntoViewIfNeeded", of, nil) != nil || p.call("DOM.getContentQuads", of, &res) != nil || len(res.Quads) == 0 {
		return false
	}
	q := res.Quads[0]
	x, y := (q[0]+q[2]+q[4]+q[6])/4, (q[1]+q[3]+q[5]+q[7])/4
	return chromedp.Do(p.ctx, chromedp.MouseClickXY(x, y)) == nil
}

// tick sees to it that a box or a choice is chosen.
func (p *page) tick(role, name string) {
	p.t.Helper()
	p.until("one can choose the "+role+" "+name, func() bool {
		n, ok := p.find(role, name)
		return ok && (n.checked || p.clickOn(n))
	})
	p.until("the "+role+" "+name+" is chosen", func() bool {
		n, ok := p.find(role, name)
		return ok && n.checked
	})
}

// fields are the roles of what one types into.
const fields = "textbox|searchbox|spinbutton|combobox"

// fill types a text into the field of a label, over what is there.
func (p *page) fill(label, text string) {
	p.t.Helper()
	p.until("one can type into "+label, func() bool {
		n, ok := p.find(fields, label)
		if !ok || p.call("DOM.focus", object{"backendNodeId": n.id}, nil) != nil {
			return false
		}
		selectAll := object{"type": "rawKeyDown", "key": "a", "code": "KeyA", "commands": []string{"selectAll"}}
		return p.call("Input.dispatchKeyEvent", selectAll, nil) == nil && p.call("Input.insertText", object{"text": text}, nil) == nil
	})
}

// choose chooses an option of the list of a label by what it reads.
func (p *page) choose(label, option string) {
	p.t.Helper()
	const pick = `function (text) {
		const option = [...this.options].find((o) => o.text.trim() === text);
		if (!option) return false;
		this.value = option.value;
		this.dispatchEvent(new Event("input", {bubbles: true}));
		this.dispatchEvent(new Event("change", {bubbles: true}));
		return true;
	}`
	p.until("one can choose "+option+" of "+label, func() bool {
		n, ok := p.find("combobox|listbox", label)
		return ok && p.apply(n, pick, option)
	})
}

// apply calls a function of a script on a node's element, and answers what it does.
func (p *page) apply(n node, function string, args ...any) bool {
	var at struct {
		Object struct{ ObjectID string }
	}
	if p.call("DOM.resolveNode", object{"backendNodeId": n.id}, &at) != nil {
		return false
	}
	given := []object{}
	for _, a := range args {
		given = append(given, object{"value": a})
	}
	var res struct{ Result struct{ Value bool } }
	err := p.call("Runtime.callFunctionOn", object{"objectId": at.Object.ObjectID, "functionDeclaration": function, "arguments": given, "returnByValue": true}, &res)
	return err == nil && res.Result.Value
}

// focused answers what has the focus.
func (p *page) focused() node {
	var last node
	for _, n := range p.nodes() {
		if n.focused && n.role != "RootWebArea" {
			last = n
		}
	}
	return last
}

// tabTo presses the tabulator until what has a role and a name has the focus, which must be seen, and no more than a person would.
func (p *page) tabTo(roles, name string) {
	p.t.Helper()
	const most = 80
	var met []string
	for range most {
		p.key(tab)
		n := p.focused()
		met = append(met, n.role+" "+n.name)
		if n.called(roles, name) {
			seen := eval[bool](p, `(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0; })()`)
			require.True(p.t, seen, "the focus on %s %s can not be seen", roles, name)
			return
		}
	}
	require.Fail(p.t, "the keyboard does not get to "+roles+" "+name, strings.Join(met, "\n"))
}
