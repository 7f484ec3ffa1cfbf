package config

import (
	"context"
	"slices"

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

// seal answers c with its plain credentials sealed, and what becomes of each by field. A plain one that is stored already
// takes over what is stored, so that a repeated apply changes nothing. Outside any transaction: a key set may be far away.
func (s *Service) seal(ctx context.Context, w id.Workspace, c *resource.Connection) (*resource.Connection, map[string]string, error) {
	in := c.Clone()
	in.Workspace = w
	r, _, err := load(ctx, s.db, w, keyOf(c))
	if err != nil {
		return nil, nil, err
	}
	old, _ := r.(*resource.Connection)
	became := map[string]string{}
	for _, f := range in.Secrets() {
		stored := storedSecret(old, f.Name)
		switch {
		case f.Value.Plain == "":
			if len(stored) > 0 && len(f.Value.Sealed) == 0 {
				became[f.Name] = secretKept
			}
		case len(stored) > 0 && s.keys.Holds(old, resource.SecretField{Name: f.Name, Value: &resource.Secret{Sealed: stored}}, f.Value.Plain):
			*f.Value = resource.Secret{Sealed: stored}
			became[f.Name] = secretKept
		case len(stored) > 0:
			became[f.Name] = secretChanged
		default:
			became[f.Name] = secretSet
		}
	}
	sealed, err := s.keys.SealConnection(in)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // classified by secret
	}
	return &sealed, became, nil
}

// storedSecret answers a sealed credential of a connection that may be nil.
func storedSecret(c *resource.Connection, field string) []byte {
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
// is to be kept where none is stored is a violation.
func keepSecrets(c, old *resource.Connection, cleared []string) []fault.Violation {
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
	return out
}

// hide answers r as callers may see it: of a credential only that it is there. r itself stays as it is.
func hide(r resource.Resource) resource.Resource {
	c, ok := r.(*resource.Connection)
	if !ok {
		return r
	}
	out := c.Clone()
	for _, f := range out.Secrets() {
		if !f.Value.IsZero() {
			*f.Value = resource.Secret{Kept: true}
		}
	}
	return &out
}
