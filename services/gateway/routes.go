package gateway

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"millrace.dev/pkg/fault"
)

//go:embed rest.yaml
var restYAML []byte

// route is one HTTP method on one path, and the gRPC method behind it.
type route struct {
	verb   string // GET, PUT, …
	path   string // as rest.yaml has it
	method protoreflect.MethodDescriptor
	body   string // the field that the body is, "*" for the whole request, empty for none
}

// routes is every route.
type routes []route

// binding is an HttpRule of google.api.
type binding struct {
	Selector     string
	Get          string
	Put          string
	Post         string
	Patch        string
	Delete       string
	Body         string
	ResponseBody string    `yaml:"response_body"`
	More         []binding `yaml:"additional_bindings"`
}

// readRoutes reads rest.yaml. The generated code of every service that it names is linked in.
func readRoutes() (routes, error) {
	var file struct {
		HTTP struct{ Rules []binding }
	}
	if err := yaml.Unmarshal(restYAML, &file); err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "read rest.yaml: %w", err)
	}
	var out routes
	for _, b := range file.HTTP.Rules {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(b.Selector))
		if err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "rest.yaml: %s: %w", b.Selector, err)
		}
		m, ok := d.(protoreflect.MethodDescriptor)
		if !ok {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "rest.yaml: %s is no method", b.Selector)
		}
		for _, b := range append([]binding{b}, b.More...) {
			verb, path := b.address()
			out = append(out, route{verb: verb, path: path, method: m, body: b.Body})
		}
	}
	return out, nil
}

func (b binding) address() (verb, path string) {
	switch {
	case b.Get != "":
		return "GET", b.Get
	case b.Put != "":
		return "PUT", b.Put
	case b.Post != "":
		return "POST", b.Post
	case b.Patch != "":
		return "PATCH", b.Patch
	default:
		return "DELETE", b.Delete
	}
}

// of answers the route of a request, whose pattern is as the generated code says it: with {name=*} for {name}.
func (r routes) of(verb string, pattern fmt.Stringer) (route, error) {
	path := strings.ReplaceAll(pattern.String(), "=*}", "}")
	for _, e := range r {
		if e.verb == verb && e.path == path {
			return e, nil
		}
	}
	return route{}, fault.New(fault.Internal, fault.ReasonInternal, "%s %s is not in rest.yaml", verb, path)
}

// allowed answers the methods that a path may be asked with, in order; none where there is no such path. A path that ends
// in a custom verb (:trigger) is that of the verb, and not one of an id.
func (r routes) allowed(path string) []string {
	var plain, custom []string
	for _, e := range r {
		switch {
		case !matches(e.path, path):
		case e.custom():
			custom = append(custom, e.verb)
		default:
			plain = append(plain, e.verb)
		}
	}
	if len(custom) > 0 {
		plain = custom
	}
	slices.Sort(plain)
	return slices.Compact(plain)
}

// matches says whether a path is one of a template: the same segments, with anything for a variable, and the same verb
// behind the last colon, where the template has one.
func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i, w := range want {
		g := got[i]
		if at := strings.LastIndexByte(w, ':'); at >= 0 {
			head, ok := strings.CutSuffix(g, w[at:])
			if !ok {
				return false
			}
			w, g = w[:at], head
		}
		if strings.HasPrefix(w, "{") && g == "" || !strings.HasPrefix(w, "{") && w != g {
			return false
		}
	}
	return true
}

// variables answers the fields that the path of a route sets.
func (r route) variables() []string {
	var out []string
	for part := range strings.SplitSeq(r.path, "{") {
		if name, _, ok := strings.Cut(part, "}"); ok {
			out = append(out, name)
		}
	}
	return out
}

// custom says whether the path ends in a custom verb.
func (r route) custom() bool { return strings.Contains(r.path, ":") }

// streams says whether the answer is a stream.
func (r route) streams() bool { return r.method.IsStreamingServer() }

// message answers what a body is; nil where the route has none.
func (r route) message() protoreflect.MessageDescriptor {
	switch r.body {
	case "":
		return nil
	case "*":
		return r.method.Input()
	default:
		return r.method.Input().Fields().ByName(protoreflect.Name(r.body)).Message()
	}
}
