package console

import (
	"embed"
	"html/template"
	"io/fs"
	"strings"

	"millrace.dev/pkg/fault"
)

//go:embed templates/*.html
var templateFiles embed.FS

// readTemplates answers the template of each page by its name: the page's own file with layout.html and parts.html, which
// have what pages share.
func readTemplates(a assets) (map[string]*template.Template, error) {
	base, err := template.New("").Funcs(words(a)).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "read the console's layout: %w", err)
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ReasonInternal, "read the console's templates: %w", err)
	}
	out := map[string]*template.Template{}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(f, "templates/"), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, f)
		}
		if err != nil {
			return nil, fault.New(fault.Internal, fault.ReasonInternal, "read the template %s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}
