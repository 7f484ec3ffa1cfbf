package secret

import (
	"crypto/subtle"

	"millrace.dev/pkg/resource"
)

// SealConnection answers c with its plain credentials sealed, each bound to its place. c itself stays as it is.
func (k *Keyring) SealConnection(c resource.Connection) (resource.Connection, error) {
	c = c.Clone()
	for _, f := range c.Secrets() {
		if f.Value.Plain == "" {
			continue
		}
		sealed, err := k.Seal([]byte(f.Value.Plain), aadOf(&c, f))
		if err != nil {
			return resource.Connection{}, err
		}
		*f.Value = resource.Secret{Sealed: sealed}
	}
	return c, nil
}

// OpenConnection answers c with its sealed credentials in plain text. c itself stays as it is. The error is
// SECRET_UNREADABLE.
func (k *Keyring) OpenConnection(c resource.Connection) (resource.Connection, error) {
	c = c.Clone()
	for _, f := range c.Secrets() {
		if len(f.Value.Sealed) == 0 {
			continue
		}
		plain, err := k.Unseal(f.Value.Sealed, aadOf(&c, f))
		if err != nil {
			return resource.Connection{}, err
		}
		*f.Value = resource.Secret{Plain: string(plain)}
	}
	return c, nil
}

// Holds says whether a sealed credential of c is this plain text. One that cannot be opened is another.
func (k *Keyring) Holds(c *resource.Connection, f resource.SecretField, plain string) bool {
	got, err := k.Unseal(f.Value.Sealed, aadOf(c, f))
	return err == nil && subtle.ConstantTimeCompare(got, []byte(plain)) == 1
}

func aadOf(c *resource.Connection, f resource.SecretField) string {
	return AAD(string(c.Workspace.Or()), c.ID, f.Name)
}
