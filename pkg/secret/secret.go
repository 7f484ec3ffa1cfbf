// Package secret seals credentials by envelope encryption: each secret under a key of its own, that key under a key set
// which stands in a file or in a key management service.
package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/core/registry"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"millrace.dev/pkg/fault"
)

const (
	schemeFile = "file:"
	// others is the permission bits of everybody but the owner.
	others = fs.FileMode(0o077)
	// maxKeySet bounds the file of a key set, in bytes.
	maxKeySet = 1 << 20
)

// Keyring seals and opens secrets with one key set. Safe for concurrent use.
type Keyring struct {
	where string // of the key set, for messages
	aead  tink.AEAD
}

// Open answers the keyring at a URI. `file:PATH` is a Tink key set in clear text: where it is missing it is made, with mode
// 0600, at most once however many processes ask; one that others may read is refused. Any other URI names a key of a key
// management service, such as gcp-kms://…, and needs a client for it, registered with Tink by the process. Errors:
// Invalid, Precondition (SECRET_UNREADABLE), Unavailable.
func Open(ctx context.Context, uri string) (*Keyring, error) {
	if err := ctx.Err(); err != nil {
		return nil, fault.As(err)
	}
	path, isFile := strings.CutPrefix(uri, schemeFile)
	switch {
	case isFile && path == "":
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the key set %q names no path; write file:PATH", uri)
	case isFile:
		return openFile(path)
	case strings.Contains(uri, "://"):
		return openKMS(uri)
	default:
		return nil, fault.New(fault.Invalid, fault.ReasonInvalidArgument, "the key set %q is no URI; write file:PATH or the URI of a KMS key, such as gcp-kms://…", uri)
	}
}

func openFile(path string) (*Keyring, error) {
	data, err := readKeySet(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeySet(path); err != nil {
			return nil, err
		}
		data, err = readKeySet(path)
	}
	if err != nil {
		return nil, unreadable(err, "the key set file %s cannot be read; make it readable for the user of this process", path)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, unreadable(err, "the file %s holds no Tink key set; restore it from a backup, or name another file", path)
	}
	kek, err := aead.New(handle)
	if err != nil {
		return nil, unreadable(err, "the key set in %s is none for AEAD; make one with an AEAD template", path)
	}
	return keyring(schemeFile+path, kek), nil
}

// readKeySet answers the file's content. It is fs.ErrNotExist where there is none, and classified where others may read it.
func readKeySet(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("open key set: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat key set: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(nil, "the key set %s is not a regular file; name a file", path)
	}
	if m := info.Mode().Perm(); m&others != 0 {
		return nil, unreadable(nil, "the key set file %s has mode %#o, so others may read it; run: chmod 600 %s", path, m, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeySet+1))
	if err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(data) > maxKeySet {
		return nil, unreadable(nil, "the key set file %s is larger than %d bytes; name another file", path, maxKeySet)
	}
	return data, nil
}

// createKeySet makes a key set with one fresh key. The file appears whole or not at all; one that another process made
// meanwhile is left alone.
func createKeySet(path string) error {
	cannot := func(err error) error {
		return unreadable(err, "the key set file %s cannot be made; make its folder writable for the user of this process", path)
	}
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return cannot(err)
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&buf)); err != nil {
		return cannot(err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return cannot(err)
	}
	tmp, err := os.CreateTemp(dir, ".keyset-*") // mode 0600
	if err != nil {
		return cannot(err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(buf.Bytes())
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return cannot(err)
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return cannot(err)
	}
	return syncFolder(dir, cannot)
}

func syncFolder(dir string, cannot func(error) error) error {
	d, err := os.Open(dir) //nolint:gosec // the operator names the file
	if err != nil {
		return cannot(err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return cannot(err)
	}
	return nil
}

func openKMS(uri string) (*Keyring, error) {
	scheme, _, _ := strings.Cut(uri, "://")
	client, err := registry.GetKMSClient(uri)
	if err != nil {
		return nil, unreadable(err, "this build has no client for %s:// keys; use file:PATH, or a build that registers a Tink KMS client for %s", scheme, scheme)
	}
	kek, err := client.GetAEAD(uri)
	if err != nil {
		return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "the key at %s:// cannot be reached; check the URI and this process's rights to it: %w", scheme, err)
	}
	return keyring(scheme+"://", kek), nil
}

func keyring(where string, kek tink.AEAD) *Keyring {
	return &Keyring{where: where, aead: aead.NewKMSEnvelopeAEAD2(aead.AES256GCMKeyTemplate(), kek)}
}

// AAD answers the additional data that binds a credential to its place.
func AAD(workspace, owner, field string) string {
	return workspace + "/" + owner + "/" + field
}

// Seal answers plain encrypted and bound to aad. Equal input gives different output each time.
func (k *Keyring) Seal(plain []byte, aad string) ([]byte, error) {
	sealed, err := k.aead.Encrypt(plain, []byte(aad))
	if err != nil {
		return nil, fault.New(fault.Unavailable, fault.ReasonServiceUnavailable, "a secret cannot be sealed with the key set at %s; check that it can be reached: %w", k.where, err)
	}
	return sealed, nil
}

// Unseal answers what Seal was given. Another key set, other aad or changed bytes are SECRET_UNREADABLE (Precondition).
func (k *Keyring) Unseal(sealed []byte, aad string) ([]byte, error) {
	plain, err := k.aead.Decrypt(sealed, []byte(aad))
	if err != nil {
		return nil, unreadable(err, "the secret %s cannot be opened with the key set at %s; give this process the key set that sealed it, or set the secret again", aad, k.where)
	}
	return plain, nil
}

// unreadable answers a SECRET_UNREADABLE with a cause, unless the cause is classified already.
func unreadable(cause error, format string, args ...any) error {
	var own *fault.Error
	if errors.As(cause, &own) {
		return own
	}
	e := fault.New(fault.Precondition, fault.ReasonSecretUnreadable, format, args...)
	e.Err = cause
	return e
}
