package secret

import (
	"crypto/subtle"

	"millrace.dev/pkg/resource"
)

// SealSecrets seals the plain credentials of r, each bound to its place. With an error, some may be.
func (k *Keyring) SealSecrets(r resource.Confidential) error {
	for _, f := range r.Secrets() {
		if f.Value.Plain == "" {
			continue
		}
		sealed, err := k.Seal([]byte(f.Value.Plain), aadOf(r, f))
		if err != nil {
			return err
		}
		*f.Value = resource.Secret{Sealed: sealed}
	}
	return nil
}

// OpenConnection answers c with its sealed credentials in plain text. c itself stays as it is. The error is
// SECRET_UNREADABLE.
func (k *Keyring) OpenConnection(c resource.Connection) (resource.Connection, error) {
	c = c.Clone()
	if err := k.OpenSecrets(&c); err != nil {
		return resource.Connection{}, err
	}
	return c, nil
}

// OpenSecrets opens the sealed credentials of r in place. The error is SECRET_UNREADABLE; some may be open then.
func (k *Keyring) OpenSecrets(r resource.Confidential) error {
	for _, f := range r.Secrets() {
		if len(f.Value.Sealed) == 0 {
			continue
		}
		plain, err := k.Unseal(f.Value.Sealed, aadOf(r, f))
		if err != nil {
			return err
		}
		*f.Value = resource.Secret{Plain: string(plain)}
	}
	return nil
}

// Holds says whether a sealed credential of r is this plain text. One that cannot be opened is another.
func (k *Keyring) Holds(r resource.Confidential, f resource.SecretField, plain string) bool {
	got, err := k.Unseal(f.Value.Sealed, aadOf(r, f))
	return err == nil && subtle.ConstantTimeCompare(got, []byte(plain)) == 1
}

// aadOf names a credential's place. Ids have no slash, so that an alert's is never a connection's.
func aadOf(r resource.Confidential, f resource.SecretField) string {
	m := r.Head()
	owner := m.ID
	if r.ResourceKind() == resource.KindAlert {
		owner = "alert/" + m.ID
	}
	return AAD(string(m.Workspace.Or()), owner, f.Name)
}
