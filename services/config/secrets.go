package config

import (
	"context"
	"slices"
	"strings"

	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/id"
	"millrace.dev/pkg/resource"
)

// words of a plan for what becomes of a secret.
const (
	secretSet     = "(set)"
	secretChanged = "(changed)"
	secretKept    = "(kept)"
)

// seal answers r with its plain credentials sealed, and what becomes of each by field. A plain one that is stored already
// takes over what is stored, so that a repeated apply changes nothing. Outside any transaction: a key set may be far away.
func (s *Service) seal(ctx context.Context, w id.Workspace, r resource.Confidential) (resource.Confidential, map[string]string, error) {
	in := secretsOf(clone(r))
	in.Head().Workspace = w
	stored, _, err := load(ctx, s.db, w, keyOf(r))
	if err != nil {
		return nil, nil, err
	}
	old := secretsOf(stored)
	became := map[string]string{}
	for _, f := range in.Secrets() {
		sealed := storedSecret(old, f.Name)
		switch {
		case f.Value.Plain == "":
			if len(sealed) > 0 && len(f.Value.Sealed) == 0 {
				became[f.Name] = secretKept
			}
		case len(sealed) > 0 && s.keys.Holds(old, resource.SecretField{Name: f.Name, Value: &resource.Secret{Sealed: sealed}}, f.Value.Plain):
			*f.Value = resource.Secret{Sealed: sealed}
			became[f.Name] = secretKept
		case len(sealed) > 0:
			became[f.Name] = secretChanged
		default:
			became[f.Name] = secretSet
		}
	}
	return in, became, s.keys.SealSecrets(in)
}

// secretsOf answers r where it may have credentials; nil where it may not, and of nil.
func secretsOf(r resource.Resource) resource.Confidential {
	c, _ := r.(resource.Confidential)
	return c
}

// storedSecret answers a sealed credential of a resource that may be nil.
func storedSecret(c resource.Confidential, field string) []byte {
	if c == nil {
		return nil
	}
	for _, f := range c.Secrets() {
		if f.Name == field {
			return f.Value.Sealed
		}
	}
	return nil
}

// keepSecrets gives c the stored credentials that it leaves alone. Those in `cleared` are not kept. A credential that
// is to be kept where none is stored is a violation, and so is a webhook without one.
func keepSecrets(c, old resource.Confidential, cleared []string) []fault.Violation {
	var out []fault.Violation
	for _, f := range c.Secrets() {
		if f.Value.Plain != "" || len(f.Value.Sealed) > 0 {
			continue
		}
		stored := storedSecret(old, f.Name)
		switch {
		case slices.Contains(cleared, f.Name) && !f.Value.Kept:
		case len(stored) > 0:
			*f.Value = resource.Secret{Sealed: stored}
		case f.Value.Kept:
			out = append(out, violation(keyOf(c), f.Name, "give the secret", "nothing is stored that could be kept"))
		}
	}
	if a, ok := c.(*resource.Alert); ok && len(out) == 0 && a.Webhook != nil && a.Webhook.Secret.IsZero() {
		out = append(out, violation(keyOf(c), "webhook.secret", "give the secret that messages are signed with", "is missing, and none is stored"))
	}
	return out
}

// refuseMoved reports where c would take credentials that are kept elsewhere than old does: who may change an address would
// be sent them. Those that stand in plain text in `given`, which c was made of, are given anew and go where they are meant to.
func refuseMoved(given, c, old resource.Confidential) []fault.Violation {
	to, ok := c.(*resource.Connection)
	was, had := old.(*resource.Connection)
	if !ok || !had {
		return nil
	}
	typed := map[string]bool{}
	for _, f := range given.Secrets() {
		typed[f.Name] = f.Value.Plain != ""
	}
	before := map[string]any{}
	for _, d := range was.Destinations() {
		before[d.Field] = d.Value
	}
	var out []fault.Violation
	for _, d := range to.Destinations() {
		var kept []string
		for _, f := range to.Secrets() {
			if len(f.Value.Sealed) > 0 && !typed[f.Name] && (d.Secret == "" || d.Secret == f.Name) {
				kept = append(kept, f.Name)
			}
		}
		if len(kept) > 0 && before[d.Field] != d.Value {
			out = append(out, violation(keyOf(c), d.Field, "give "+strings.Join(kept, ", ")+" again", "is another than before, and a secret that is kept does not go elsewhere"))
		}
	}
	return out
}

// hide answers r as callers may see it: of a credential only that it is there. r itself stays as it is.
func hide(r resource.Resource) resource.Resource {
	if secretsOf(r) == nil {
		return r
	}
	out := secretsOf(clone(r))
	for _, f := range out.Secrets() {
		if !f.Value.IsZero() {
			*f.Value = resource.Secret{Kept: true}
		}
	}
	return out
}
