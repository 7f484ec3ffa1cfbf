package browser_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"
)

// page is a tab of a browser with a profile of its own, and what a person does in it. One goroutine at a time uses it.
type page struct {
	t      *testing.T
	ctx    context.Context
	tab    *chromedp.Target
	base   string // http://127.0.0.1:PORT
	faults *faults

	mu      sync.Mutex
	changed chan struct{} // closed when something has changed in the tab, and made anew
}

// object is a JSON object of the DevTools protocol.
type object = map[string]any

// world is where the tests' own script is: beside the page's, which can not see it and whose policy is not about it.
const world = "millrace-tests"

// tell calls tests at every change of the page's content.
const tell = `new MutationObserver(() => millraceChanged("")).observe(document, {subtree: true, childList: true, attributes: true, characterData: true})`

// open opens a tab, which is closed at the test's end. The test fails where its pages were at fault.
func open(t *testing.T, base string) *page {
	t.Helper()
	ctx, cancel := chromedp.NewContext(shared.start(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	require.NoError(t, chromedp.Do(ctx))
	p := &page{t: t, ctx: ctx, tab: chromedp.FromContext(ctx).Target, base: base, changed: make(chan struct{})}
	p.faults = watch(p)
	t.Cleanup(p.judge)
	for _, event := range []string{"Runtime.bindingCalled", "Page.loadEventFired", "Page.frameNavigated", "Page.navigatedWithinDocument"} {
		p.on(event, func(json.RawMessage) {})
	}
	p.must("Runtime.addBinding", object{"name": "millraceChanged", "executionContextName": world}, nil)
	p.must("Page.addScriptToEvaluateOnNewDocument", object{"source": tell, "worldName": world}, nil)
	p.must("Emulation.setDeviceMetricsOverride", object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	p.prefer("light")
	return p
}

// judge fails the test where a page was at fault, and keeps what a failed test saw last.
func (p *page) judge() {
	if p.t.Failed() {
		p.picture("failed")
		p.t.Logf("at %s:\n%s", p.path(), p.text())
	}
	for _, f := range p.faults.all() {
		p.t.Errorf("a page was at fault: %s", f)
	}
}

// on calls hear for every event of a kind, and then wakes who waits.
func (p *page) on(event string, hear func(params json.RawMessage)) {
	events, stop := p.tab.Subscribe(event)
	p.t.Cleanup(stop)
	go func() { // until stop
		for e := range events {
			hear(json.RawMessage(e))
			p.wake()
		}
	}()
}

func (p *page) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.changed)
	p.changed = make(chan struct{})
}

// next answers a channel that is closed at the next change.
func (p *page) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// until asks again at every change of the tab until the answer is yes.
func (p *page) until(what string, yes func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		next := p.next()
		if yes() {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			require.Fail(p.t, "it never happened: "+what)
		}
	}
}

// call sends a command of the DevTools protocol. It fails where the page it is for is just left.
func (p *page) call(command string, params, into any) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	var res json.RawMessage
	if err := p.tab.Call(ctx, command, params, &res); err != nil {
		return err
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(res, into)
}

func (p *page) must(command string, params, into any) {
	p.t.Helper()
	require.NoError(p.t, p.call(command, params, into), command)
}

// eval answers what an expression is in the page; the zero value where the page is just left.
func eval[T any](p *page, expression string) (value T) {
	var res struct {
		Result           struct{ Value T }
		ExceptionDetails json.RawMessage
	}
	if err := p.call("Runtime.evaluate", object{"expression": expression, "returnByValue": true, "awaitPromise": true}, &res); err != nil {
		return value
	}
	require.Empty(p.t, string(res.ExceptionDetails), expression)
	return res.Result.Value
}

// visit opens a path and waits until all of it is there.
func (p *page) visit(path string) {
	p.t.Helper()
	var res struct{ ErrorText string }
	p.must("Page.navigate", object{"url": p.base + path}, &res)
	require.Empty(p.t, res.ErrorText, path)
	p.loaded()
}

// loaded waits until the page that the tab is at is complete.
func (p *page) loaded() {
	p.t.Helper()
	p.until("the page is complete", func() bool { return eval[string](p, "document.readyState") == "complete" })
}

// path answers the path that the tab is at, with its query.
func (p *page) path() string { return eval[string](p, "location.pathname + location.search") }

// at waits until the tab is at a path of a pattern, complete, and answers what its groups match.
func (p *page) at(pattern string) []string {
	p.t.Helper()
	var groups []string
	re := regexp.MustCompile("^" + pattern + "$")
	p.until("the tab is at "+pattern, func() bool {
		groups = re.FindStringSubmatch(eval[string](p, "location.pathname"))
		return groups != nil
	})
	p.loaded()
	return groups[1:]
}

// text answers what can be read on the page, with single spaces.
func (p *page) text() string {
	return strings.Join(strings.Fields(eval[string](p, "document.body ? document.body.innerText : ''")), " ")
}

// reads waits until a text can be read on the page.
func (p *page) reads(text string) {
	p.t.Helper()
	p.until("the page reads "+text, func() bool { return strings.Contains(p.text(), text) })
}

// over waits until the page of a run, which loads itself anew at the run's end, has done so and reads a text.
func (p *page) over(text string) {
	p.t.Helper()
	p.until("the page of the run that is over reads "+text, func() bool {
		return eval[bool](p, `document.readyState === "complete" && !document.querySelector("[data-live]")`) && strings.Contains(p.text(), text)
	})
}

// matches waits until the page's text matches a pattern, and answers what its groups match.
func (p *page) matches(pattern string) []string {
	p.t.Helper()
	var groups []string
	re := regexp.MustCompile(pattern)
	p.until("the page reads "+pattern, func() bool {
		groups = re.FindStringSubmatch(p.text())
		return groups != nil
	})
	return groups[1:]
}

// key presses keys, one after the other.
func (p *page) key(keys ...string) {
	p.t.Helper()
	for _, k := range keys {
		require.NoError(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent(k)))
	}
}

// prefer makes the system of the tab's user light or dark.
func (p *page) prefer(scheme string) {
	p.t.Helper()
	p.must("Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// mark makes the page known again; marked says whether it is still the one that was marked, not loaded anew.
func (p *page) mark()        { eval[bool](p, "window.millraceMark = true") }
func (p *page) marked() bool { return eval[bool](p, "window.millraceMark === true") }

// shows takes a picture of a page and holds it to what every page has to be for those who can not see it, or hardly.
func (p *page) shows(name string) {
	p.t.Helper()
	p.loaded()
	p.picture(name)
	require.Empty(p.t, p.obstacles(), "%s at %s", name, p.path())
}

// picture keeps what the tab shows as a file, and prints its name.
func (p *page) picture(name string) {
	p.t.Helper()
	var res struct{ Data []byte }
	if err := p.call("Page.captureScreenshot", object{"format": "png"}, &res); err != nil {
		p.t.Logf("no picture %s: %v", name, err)
		return
	}
	file := filepath.Join(screenshots, strings.ReplaceAll(p.t.Name(), "/", "-")+"-"+name+".png")
	require.NoError(p.t, os.MkdirAll(screenshots, 0o750))
	require.NoError(p.t, os.WriteFile(file, res.Data, 0o600))
	p.t.Log("picture: " + file)
}

// screenshots is where pictures are kept, from this folder.
const screenshots = "../../../.bin/screenshots"

// Keys that walks press.
const (
	tab    = kb.Tab
	enter  = kb.Enter
	escape = kb.Escape
)
