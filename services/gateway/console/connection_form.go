package console

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

const kindConnection = "Connection"

// connectionForm makes or changes a connection. Without a provider it asks for one.
type connectionForm struct {
	Providers  []provider // to choose of
	Provider   provider
	ID, Etag   string
	New        bool
	Wizard     bool // leads on to the next step of the wizard
	Name       input
	IDInput    input
	Inputs     []input
	More       []input
	MoreWanted bool // shows what is else shown on demand
}

func (c *Console) newConnection(r *request) (view, error) {
	p, known := providerNamed(r.FormValue("provider"))
	f := connectionForm{New: true, Wizard: r.FormValue("wizard") != ""}
	if !known {
		f.Providers = providers()
		return f.view(nil), nil
	}
	m := &configv1.Connection{}
	blockIn(m, p.Name)
	f.fill(m, p, nil)
	return f.view(nil), nil
}

func (c *Console) editConnection(r *request) (view, error) {
	p, err := c.connection(r, "edit")
	if err != nil {
		return nil, err
	}
	f := connectionForm{ID: p.Connection.GetMeta().GetId(), Etag: p.Connection.GetMeta().GetEtag()}
	known, _ := blockOf(p.Connection)
	f.fill(p.Connection, known, nil)
	return f.view(nil), nil
}

func (f connectionForm) view(failure error) view {
	title := "New connection"
	if !f.New {
		title = "Edit " + f.ID
	}
	return page{name: "connection_form", title: title, section: "connections", data: f, failure: failure}
}

// fill shows a connection in the form, with what is wrong about it.
func (f *connectionForm) fill(m *configv1.Connection, p provider, err error) {
	wrong := wrongsOf(err, kindConnection)
	f.Provider = p
	f.Name = input{Name: "display_name", Label: "Name", Hint: "As lists show it.", Kind: inputText, Value: m.GetMeta().GetDisplayName(), Required: f.New, Wrong: wrong["display_name"]}
	f.IDInput = input{Name: "id", Label: "Id", Hint: "As documents and commands name it; it can not be changed later. Left empty: made of the name.", Kind: inputText, Value: m.GetMeta().GetId(), Wrong: wrong["id"]}
	_, block := blockOf(m)
	for _, s := range p.settings {
		in := inputOf(s, block, wrong[p.Name+"."+s.name])
		if s.more {
			f.More = append(f.More, in)
			f.MoreWanted = f.MoreWanted || len(in.Wrong) > 0
		} else {
			f.Inputs = append(f.Inputs, in)
		}
	}
}

// inputOf shows a setting. A secret is never shown, only that it is stored.
func inputOf(s setting, block protoreflect.Message, wrong []fault.Violation) input {
	in := input{Name: s.name, Label: s.label, Hint: s.hint, Kind: s.kind, Required: s.required, Wrong: wrong}
	f := block.Descriptor().Fields().ByName(protoreflect.Name(s.name))
	if f.Message() != nil {
		secret, _ := block.Get(f).Message().Interface().(*configv1.Secret)
		in.Kept = secret.GetKept()
		return in
	}
	if block.Has(f) {
		in.Value = block.Get(f).String()
	}
	if s.kind == inputChoice {
		in.Choices = choicesOf(s, in.Value)
	}
	return in
}

func choicesOf(s setting, chosen string) []option {
	if chosen == "" {
		chosen = s.choices[0]
	}
	out := options(chosen, s.choices...)
	if out[0].Value == "" {
		out[0].Text = "none"
	}
	return out
}

// blockIn answers the block of a provider in a connection, which it sets.
func blockIn(m *configv1.Connection, name string) protoreflect.Message {
	msg := m.ProtoReflect()
	return msg.Mutable(msg.Descriptor().Fields().ByName(protoreflect.Name(name))).Message()
}

// readConnection answers the connection that a form describes, and the paths of what it changes.
func (r *request) readConnection(p provider, id string) (*configv1.Connection, []string, *faults) {
	m := &configv1.Connection{Meta: &configv1.Meta{Id: id, DisplayName: r.text("display_name"), Etag: r.PostFormValue("etag")}}
	bad := &faults{kind: kindConnection, id: id}
	block := blockIn(m, p.Name)
	paths := []string{"meta.display_name", p.Name}
	for _, s := range p.settings {
		f := block.Descriptor().Fields().ByName(protoreflect.Name(s.name))
		path := p.Name + "." + s.name
		switch {
		case f.Message() != nil:
			secret := r.readSecret(s.name)
			if secret == nil {
				paths = append(paths, path) // is cleared
				continue
			}
			block.Set(f, protoreflect.ValueOfMessage(secret.ProtoReflect()))
		case f.Kind() == protoreflect.Int32Kind:
			block.Set(f, protoreflect.ValueOfInt32(int32(bad.whole(path, r.text(s.name), 32)))) //nolint:gosec // of 32 bits
		case f.Kind() == protoreflect.Int64Kind:
			block.Set(f, protoreflect.ValueOfInt64(bad.whole(path, r.text(s.name), 64)))
		default:
			block.Set(f, protoreflect.ValueOfString(r.text(s.name)))
		}
	}
	return m, paths, bad
}

// readSecret answers a secret that was typed or is to be kept, nil where there is to be none.
func (r *request) readSecret(name string) *configv1.Secret {
	switch typed := r.PostFormValue(name); {
	case typed != "":
		return &configv1.Secret{Value: &configv1.Secret_Plain{Plain: typed}}
	case r.PostFormValue("kept."+name) != "" && r.PostFormValue("remove."+name) == "":
		return &configv1.Secret{Value: &configv1.Secret_Kept{Kept: true}}
	default:
		return nil
	}
}

func (c *Console) createConnection(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	p, known := providerNamed(r.PostFormValue("provider"))
	if !known {
		return seeOther(r.path("new", "connection")), nil
	}
	id := r.text("id")
	if id == "" {
		id = slug(r.text("display_name"))
	}
	m, _, bad := r.readConnection(p, id)
	err := bad.err()
	if err == nil {
		_, err = c.config.CreateConnection(r.Context(), &configv1.CreateConnectionRequest{Workspace: r.workspace, Connection: proto.CloneOf(m)})
	}
	wizard := r.PostFormValue("wizard") != ""
	switch {
	case err != nil:
		f := connectionForm{New: true, Wizard: wizard}
		f.fill(m, p, err)
		f.IDInput.Value = r.text("id")
		return f.view(err), nil
	case wizard:
		return seeOther(r.path("new", "model") + "?connection=" + id), nil
	default:
		return after(r.path("connections", id, "test"), "created"), nil
	}
}

func (c *Console) updateConnection(r *request) (view, error) {
	if err := r.form(); err != nil {
		return nil, err
	}
	old, err := c.connection(r, "edit")
	if err != nil {
		return nil, err
	}
	p, _ := blockOf(old.Connection)
	id := old.Connection.GetMeta().GetId()
	m, paths, bad := r.readConnection(p, id)
	if err = bad.err(); err == nil {
		_, err = c.config.UpdateConnection(r.Context(), &configv1.UpdateConnectionRequest{Workspace: r.workspace, Connection: proto.CloneOf(m), UpdateMask: &fieldmaskpb.FieldMask{Paths: paths}})
	}
	if err == nil {
		return after(r.path("connections", id), "saved"), nil
	}
	f := connectionForm{ID: id, Etag: r.PostFormValue("etag")}
	keepShown(m, old.Connection)
	f.fill(m, p, err)
	return f.view(err), nil
}

// keepShown makes the secrets of m those that are stored: what was typed of them is not sent back.
func keepShown(m, stored *configv1.Connection) {
	_, block := blockOf(m)
	_, was := blockOf(stored)
	for i := range block.Descriptor().Fields().Len() {
		f := block.Descriptor().Fields().Get(i)
		switch {
		case f.Message() == nil:
		case was.Has(f):
			block.Set(f, was.Get(f))
		default:
			block.Clear(f)
		}
	}
}
