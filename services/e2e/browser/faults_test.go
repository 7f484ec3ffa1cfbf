package browser_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// faults are what the pages of a tab were at fault of.
type faults struct {
	mu       sync.Mutex
	found    []string
	expected []int // statuses
}

// watch begins to watch a tab.
func watch(p *page) *faults {
	f := &faults{}
	for event, fault := range map[string]func(json.RawMessage) string{
		"Runtime.exceptionThrown":   exception,
		"Runtime.consoleAPICalled":  printed,
		"Log.entryAdded":            logged,
		"Network.requestWillBeSent": func(e json.RawMessage) string { return asked(e, p.base) },
		"Network.responseReceived":  f.answered,
		"Network.loadingFailed":     failed,
		"Inspector.targetCrashed":   func(json.RawMessage) string { return "the page crashed" },
	} {
		p.on(event, func(e json.RawMessage) { f.add(fault(e)) })
	}
	return f
}

func (f *faults) add(fault string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fault != "" && !slices.Contains(f.found, fault) {
		f.found = append(f.found, fault)
	}
}

func (f *faults) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.found)
}

// expect allows answers of a status from now on.
func (f *faults) expect(status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expected = append(f.expected, status)
}

// exception tells of an error that nobody caught.
func exception(e json.RawMessage) string {
	var in struct {
		ExceptionDetails struct {
			Text      string
			URL       string
			Exception struct{ Description string }
		}
	}
	if err := json.Unmarshal(e, &in); err != nil {
		return err.Error()
	}
	d := in.ExceptionDetails
	return fmt.Sprintf("%s %s (%s)", d.Text, d.Exception.Description, d.URL)
}

// printed tells of what a script wrote as an error or a warning.
func printed(e json.RawMessage) string {
	var in struct {
		Type string
		Args json.RawMessage
	}
	if err := json.Unmarshal(e, &in); err != nil {
		return err.Error()
	}
	if in.Type != "error" && in.Type != "warning" && in.Type != "assert" {
		return ""
	}
	return "console." + in.Type + ": " + string(in.Args)
}

// logged tells of what the browser itself wrote as an error, such as that a page broke its policy. Answers of the network are
// told of by answered.
func logged(e json.RawMessage) string {
	var in struct {
		Entry struct{ Source, Level, Text, URL string }
	}
	if err := json.Unmarshal(e, &in); err != nil {
		return err.Error()
	}
	if in.Entry.Level != "error" || in.Entry.Source == "network" {
		return ""
	}
	return fmt.Sprintf("%s: %s (%s)", in.Entry.Source, in.Entry.Text, in.Entry.URL)
}

// asked tells of a request to anyone but Millrace.
func asked(e json.RawMessage, base string) string {
	var in struct {
		Request struct{ URL string }
	}
	if err := json.Unmarshal(e, &in); err != nil {
		return err.Error()
	}
	for _, own := range []string{base + "/", "data:", "about:"} {
		if strings.HasPrefix(in.Request.URL, own) {
			return ""
		}
	}
	return "a request to " + in.Request.URL
}

// answered tells of an answer that is no success and is not expected.
func (f *faults) answered(e json.RawMessage) string {
	var in struct {
		Response struct {
			URL    string
			Status int
		}
	}
	if err := json.Unmarshal(e, &in); err != nil {
		return err.Error()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if in.Response.Status < 400 || slices.Contains(f.expected, in.Response.Status) {
		return ""
	}
	return fmt.Sprintf("%s answers %d", in.Response.URL, in.Response.Status)
}

// failed tells of a request without an answer, unless the page has given it up.
func failed(e json.RawMessage) string {
	var in struct {
		Type, ErrorText, BlockedReason string
		Canceled                       bool
	}
	if err := json.Unmarshal(e, &in); err != nil {
		return err.Error()
	}
	if in.Canceled || in.ErrorText == "net::ERR_ABORTED" && in.BlockedReason == "" {
		return ""
	}
	return fmt.Sprintf("a request for a %s failed: %s %s", in.Type, in.ErrorText, in.BlockedReason)
}
