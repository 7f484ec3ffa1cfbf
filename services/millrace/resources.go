package millrace

import (
	"context"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"

	configv1 "millrace.dev/gen/millrace/config/v1"
)

// resource is a kind of resource as the commands list, get and delete handle it.
type resource[M proto.Message] struct {
	kind string // as documents name it
	list list[M]
	page func(ctx context.Context, c configv1.ConfigServiceClient, q query) ([]M, string, error)
	get  func(ctx context.Context, c configv1.ConfigServiceClient, workspace, id string) (M, error)
	del  func(ctx context.Context, c configv1.ConfigServiceClient, workspace, id string) error
	// draw writes one as a table; nil: facts.
	draw func(m M) func(io.Writer) error
}

// query is what a list asks for.
type query struct {
	workspace, filter, orderBy, token string
	size                              int32
}

// listFlags are the flags of a list of resources.
type listFlags struct {
	limitFlag
	Filter  string `help:"Terms FIELD=VALUE joined by AND, over id, display_name and labels.KEY." placeholder:"TERMS"`
	OrderBy string `help:"id, display_name, create_time or update_time, with ' desc' behind it to turn it round." placeholder:"FIELD"`
}

// idArg is the resource that a command is about.
type idArg struct {
	ID string `arg:"" help:"Its id."`
}

func listResources[M proto.Message](ctx context.Context, s *session, r resource[M], f listFlags) error {
	c, err := s.config()
	if err != nil {
		return err
	}
	q := query{workspace: s.flags.Workspace, filter: f.Filter, orderBy: f.OrderBy}
	return show(ctx, s, r.list, f.limitFlag, func(ctx context.Context, size int32, token string) ([]M, string, error) {
		q.size, q.token = size, token
		return r.page(ctx, c, q)
	})
}

func getResource[M proto.Message](ctx context.Context, s *session, r resource[M], id string) error {
	c, err := s.config()
	if err != nil {
		return err
	}
	m, err := r.get(ctx, c, s.flags.Workspace, id)
	if err != nil {
		return err
	}
	if r.draw != nil {
		return s.answer(m, r.draw(m))
	}
	return s.answer(m, facts(m))
}

// deletion is the document that answers a delete.
type deletion struct {
	Kind    string `json:"kind"`
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
}

func deleteResource[M proto.Message](ctx context.Context, s *session, r resource[M], id string) error {
	c, err := s.config()
	if err != nil {
		return err
	}
	if err := r.del(ctx, c, s.flags.Workspace, id); err != nil {
		return err
	}
	return s.say(deletion{Kind: r.kind, ID: id, Deleted: true}, line(strings.ToLower(r.kind)+" "+id+" deleted"))
}

// line draws one line of text.
func line(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, oneLine(text)+"\n")
		return written(err)
	}
}

// described is what every resource message has.
type described interface {
	proto.Message
	GetMeta() *configv1.Meta
}

// idColumn and nameColumn frame the table of a kind.
func idColumn[M described]() column[M] {
	return column[M]{"ID", func(m M) string { return m.GetMeta().GetId() }}
}

func nameColumn[M described]() column[M] {
	return column[M]{"NAME", func(m M) string { return m.GetMeta().GetDisplayName() }}
}
