package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// object is a JSON object.
type object = map[string]any

// swagger is what is read of a Swagger 2.0 document.
type swagger struct {
	Tags        []object                        `json:"tags"`
	Paths       map[string]map[string]operation `json:"paths"`
	Definitions object                          `json:"definitions"`
}

// operation is one HTTP method of a path.
type operation struct {
	Summary     string            `json:"summary"`
	Description string            `json:"description"`
	OperationID string            `json:"operationId"`
	Responses   map[string]object `json:"responses"`
	Parameters  []object          `json:"parameters"`
	Tags        []string          `json:"tags"`
}

// convert answers the document in OpenAPI 3.0: parameters of paths by their last word, so that all methods of a path
// stand together; enum values as the words of the documentation; errors as problems; and nothing that no path leads to.
func convert(from swagger) (object, error) {
	from.Definitions["Problem"] = problemSchema()
	w := newWords(from.Definitions)
	paths, used := object{}, map[string]bool{}
	for path, methods := range from.Paths {
		item, _ := paths[short(path)].(object)
		if item == nil {
			item = object{}
			paths[short(path)] = item
		}
		for verb, op := range methods {
			if item[verb] != nil {
				return nil, fmt.Errorf("%s %s is there twice", verb, short(path))
			}
			item[verb] = op.convert(path)
			used[op.Tags[0]] = true
		}
	}
	doc := object{
		"openapi": "3.0.3",
		"info": object{
			"title": "Millrace", "version": "v1",
			"description": "The public methods of Millrace by REST. Names are in snake_case, 64-bit integers are texts, the values of enums are words in lower case. " +
				"Errors are problems (RFC 9457) with every violation at once.",
			"license": object{"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
		},
		"paths":      paths,
		"components": object{"schemas": from.Definitions},
	}
	var tags []object
	for _, t := range from.Tags {
		if name, _ := t["name"].(string); used[name] {
			tags = append(tags, t)
		}
	}
	doc["tags"] = tags
	doc, _ = w.rewrite(doc, "").(object)
	schemas, _ := doc["components"].(object)["schemas"].(object)
	prune(schemas, doc["paths"])
	return doc, w.err
}

var variable = regexp.MustCompile(`\{[a-z_.]*\.([a-z_]+)\}`)

// short answers a path with {connection.meta.id} as {id}.
func short(path string) string { return variable.ReplaceAllString(path, "{$1}") }

func (op operation) convert(path string) object {
	out := object{"operationId": op.OperationID, "tags": op.Tags, "responses": op.answers()}
	if op.Summary != "" {
		out["summary"] = op.Summary
	}
	if op.Description != "" {
		out["description"] = op.Description
	}
	var params []object
	for _, p := range op.Parameters {
		name, _ := p["name"].(string)
		if p["in"] == "body" {
			out["requestBody"] = object{
				// A body that is the whole request may be left out.
				"required": name != "body",
				"content":  object{"application/json": object{"schema": p["schema"]}},
			}
			continue
		}
		params = append(params, parameter(p))
	}
	if strings.HasSuffix(path, ":trigger") {
		params = append(params, object{
			"name": "Idempotency-Key", "in": "header", "schema": object{"type": "string"},
			"description": "In place of the field idempotency_key.",
		})
	}
	out["parameters"] = params
	return out
}

func parameter(p object) object {
	out, schema := object{}, object{}
	for k, v := range p {
		switch k {
		case "name", "in", "required", "description":
			out[k] = v
		case "collectionFormat":
			out["style"], out["explode"] = "form", true
		default:
			schema[k] = v
		}
	}
	if name, _ := p["name"].(string); p["in"] == "path" {
		out["name"] = name[strings.LastIndexByte(name, '.')+1:]
	}
	if p["name"] == "update_mask" {
		out["description"] = "The fields to change, joined by commas; * replaces everything. Without it, the fields that the body has: null clears one."
	}
	out["schema"] = schema
	return out
}

// answers converts the answer of a method, and adds the problem.
func (op operation) answers() object {
	ref := object{"$ref": "#/definitions/Problem"}
	out := object{"default": object{
		"description": "What went wrong.",
		"content":     object{"application/problem+json": object{"schema": ref}},
	}}
	for code, r := range op.Responses {
		form, description := "application/json", "OK"
		schema, _ := r["schema"].(object)
		if said, _ := r["description"].(string); strings.HasSuffix(said, "(streaming responses)") {
			form, description = "application/x-ndjson", "One line for each message; where the stream fails, a last line with the error."
			if fields, ok := schema["properties"].(object); ok {
				fields["error"] = ref
			}
		}
		out[code] = object{"description": description, "content": object{form: object{"schema": schema}}}
	}
	return out
}

// prune removes the schemas that nothing leads to from the paths.
func prune(schemas object, from any) {
	used := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case object:
			for k, e := range v {
				if name, ok := e.(string); ok && k == "$ref" {
					name = strings.TrimPrefix(name, "#/components/schemas/")
					if !used[name] {
						used[name] = true
						walk(schemas[name])
					}
					continue
				}
				walk(e)
			}
		case []object:
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(from)
	for name := range schemas {
		if !used[name] {
			delete(schemas, name)
		}
	}
}

// words knows the word of each enum value.
type words struct {
	of    map[string]string
	names []string // longest first
	err   error
}

func newWords(definitions object) *words {
	w := &words{of: map[string]string{}}
	for name, d := range definitions {
		schema, _ := d.(object)
		values, _ := schema["enum"].([]any)
		for _, v := range values {
			s, _ := v.(string)
			w.of[s] = strings.ToLower(strings.TrimPrefix(s, prefix(name)))
			w.names = append(w.names, s)
		}
	}
	slices.SortFunc(w.names, func(a, b string) int { return len(b) - len(a) })
	return w
}

var upper = regexp.MustCompile(`([a-z])([A-Z])`)

// prefix answers the prefix of an enum's values: RunState has RUN_STATE_. A name may stand behind its package.
func prefix(name string) string {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return strings.ToUpper(upper.ReplaceAllString(name, "${1}_$2")) + "_"
}

// rewrite turns references to definitions into those to components, and names of enum values into words.
func (w *words) rewrite(v any, key string) any {
	switch v := v.(type) {
	case object:
		for k, e := range v {
			v[k] = w.rewrite(e, k)
		}
	case []object:
		for _, e := range v {
			w.rewrite(e, "")
		}
	case []any:
		for i, e := range v {
			if s, ok := e.(string); ok && key == "enum" {
				if w.of[s] == "" {
					w.err = fmt.Errorf("the enum value %s is in no definition", s)
				}
				v[i] = w.of[s]
				continue
			}
			v[i] = w.rewrite(e, "")
		}
	case string:
		switch key {
		case "$ref":
			return strings.Replace(v, "#/definitions/", "#/components/schemas/", 1)
		case "description", "summary", "title":
			for _, name := range w.names {
				v = strings.ReplaceAll(v, name, w.of[name])
			}
			return v
		}
	}
	return v
}

// problemSchema is what the gateway answers for every error; a test compares it with what the service writes.
func problemSchema() object {
	text := func(description string) object { return object{"type": "string", "description": description} }
	number := func(description string) object {
		return object{"type": "integer", "format": "int32", "description": description}
	}
	return object{
		"type": "object", "description": "An error by RFC 9457.", "required": []any{"type", "title", "status", "detail", "reason"},
		"properties": object{
			"type": text("urn:millrace:problem:REASON"), "title": text("The reason in words."), "status": number("The HTTP status."),
			"detail": text("What is wrong, where, and what to do."), "instance": text("The path that was asked for."),
			"reason": text("A reason of millrace.fault.v1 in lower case, for programs to branch on."),
			"field":  text("The field at fault, where the error is about one and is no violation."),
			"violations": object{"type": "array", "description": "Every violation at once.", "items": object{
				"type": "object", "required": []any{"field", "message"},
				"properties": object{
					"file": text("The document."), "line": number("From 1, in the document or the body."), "column": number("From 1, in characters."),
					"kind": text("The kind of the resource."), "id": text("The resource."), "field": text("The path of the field."),
					"message": text("What is wrong."), "fix": text("What to do."),
				},
			}},
			"metadata": object{
				"type": "object", "additionalProperties": object{"type": "string"},
				"description": "Further facts for programs, such as the open run of run_open.",
			},
			"trace_id": text("The trace of the request."),
		},
	}
}
