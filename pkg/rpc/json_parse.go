package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"millrace.dev/pkg/fault"
)

const (
	// maxDepth and maxValues bound what one document may cost to read.
	maxDepth  = 100
	maxValues = 100_000
)

// jsonValue is a JSON value with the place where it starts.
type jsonValue struct {
	at int
	// scalar is nil, a bool, a json.Number or a string where the value is neither an object nor a list.
	scalar  any
	is      jsonKind
	members []jsonMember
	items   []jsonValue
}

type jsonMember struct {
	name  string
	value jsonValue
}

type jsonKind int

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonNumber
	jsonText
	jsonObject
	jsonList
)

func (k jsonKind) String() string {
	return [...]string{"null", "true or false", "a number", "a text", "an object", "a list"}[k]
}

// jsonParser reads one document. Its errors name a place and nothing of the text.
type jsonParser struct {
	data   []byte
	dec    *json.Decoder
	values int
}

// parseJSON reads data, which is one JSON value with nothing behind it.
func parseJSON(data []byte) (jsonValue, error) {
	p := jsonParser{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return jsonValue{}, p.refuse(i, "the body is not UTF-8 from here on")
		}
		i += n
	}
	v, err := p.value(0)
	if err != nil {
		return v, err
	}
	at := p.next()
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return v, p.refuse(at, "the body has more than one JSON value; send one")
	}
	return v, nil
}

// next answers where the next token starts.
func (p *jsonParser) next() int {
	i := int(p.dec.InputOffset())
	for i < len(p.data) && bytes.IndexByte([]byte(" \t\r\n,:"), p.data[i]) >= 0 {
		i++
	}
	return i
}

func (p *jsonParser) token() (int, json.Token, error) {
	at := p.next()
	t, err := p.dec.Token()
	switch {
	case err == nil:
		return at, t, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return at, nil, p.refuse(len(p.data), "the body is no JSON: it ends too early")
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at = max(at, int(syntax.Offset)-1)
	}
	return at, nil, p.refuse(at, "the body is no JSON from here on")
}

func (p *jsonParser) value(depth int) (jsonValue, error) {
	at, t, err := p.token()
	if err != nil {
		return jsonValue{}, err
	}
	if p.values++; p.values > maxValues {
		return jsonValue{}, p.refuse(at, "the body has more than 100,000 values; send less at once")
	}
	if depth > maxDepth {
		return jsonValue{}, p.refuse(at, "the body is nested more than 100 deep")
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return p.object(at, depth)
		}
		return p.list(at, depth)
	case string:
		return jsonValue{at: at, is: jsonText, scalar: t}, nil
	case json.Number:
		return jsonValue{at: at, is: jsonNumber, scalar: t}, nil
	case bool:
		return jsonValue{at: at, is: jsonBool, scalar: t}, nil
	default:
		return jsonValue{at: at}, nil
	}
}

func (p *jsonParser) object(at, depth int) (jsonValue, error) {
	v := jsonValue{at: at, is: jsonObject}
	seen := map[string]bool{}
	for p.dec.More() {
		nameAt, t, err := p.token()
		if err != nil {
			return v, err
		}
		name, _ := t.(string)
		if seen[name] {
			return v, p.refuse(nameAt, "the body has the same name twice in one object")
		}
		seen[name] = true
		e, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.members = append(v.members, jsonMember{name, e})
	}
	_, _, err := p.token()
	return v, err
}

func (p *jsonParser) list(at, depth int) (jsonValue, error) {
	v := jsonValue{at: at, is: jsonList}
	for p.dec.More() {
		e, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, e)
	}
	_, _, err := p.token()
	return v, err
}

func (p *jsonParser) refuse(at int, message string) error {
	line, column := place(p.data, at)
	return fault.Of(fault.ReasonInvalidArgument, []fault.Violation{{File: documentName, Line: line, Column: column, Message: message}}) //nolint:wrapcheck // born here
}

// place answers line and column of an offset, from 1, columns in characters.
func place(data []byte, at int) (line, column int) {
	head := data[:min(at, len(data))]
	return 1 + bytes.Count(head, []byte("\n")), 1 + utf8.RuneCount(head[bytes.LastIndexByte(head, '\n')+1:])
}
