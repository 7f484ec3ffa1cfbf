package profile

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/zeebo/xxh3"
)

// HashKeyLen is how many bytes the key of a Hasher has.
const HashKeyLen = 32

// Hash stands for an identity that must not come in again. Without the workspace's key nobody can tell which it is.
type Hash [16]byte

// Blocked is an entry of a hash list.
type Blocked struct {
	Hash Hash
	// Tag is a short hash that is cheap to make: who has another tag is not meant.
	Tag uint32
}

// Hasher makes the hashes of a workspace's hash lists. It is not safe for concurrent use.
type Hasher struct {
	mac  hash.Hash
	seed uint64
	buf  []byte
}

// NewHasher makes a hasher of a key.
func NewHasher(key [HashKeyLen]byte) *Hasher {
	h := &Hasher{mac: hmac.New(sha256.New, key[:])}
	sum := h.sum([]byte("tag"))
	h.seed = binary.BigEndian.Uint64(sum[:])
	return h
}

// Tag answers the tag of an identity.
func (h *Hasher) Tag(typ, value string) uint32 {
	h.buf = appendText(appendText(h.buf[:0], typ), value)
	return uint32(xxh3.HashSeed(h.buf, h.seed)) //nolint:gosec // the low half
}

// Hash answers the hash of an identity.
func (h *Hasher) Hash(typ, value string) Hash {
	h.buf = appendText(appendText(append(h.buf[:0], 'i'), typ), value)
	return h.sum(h.buf)
}

// Blocked answers what a hash list has of an identity.
func (h *Hasher) Blocked(i Identity) Blocked {
	return Blocked{h.Hash(i.Type, i.Value), h.Tag(i.Type, i.Value)}
}

// ErasureID answers the name of the erasure that an identity of a data set asks for: the same for ever.
func (h *Hasher) ErasureID(s Scope, i Identity) ErasureID {
	h.buf = append(h.buf[:0], 'e')
	for _, text := range [...]string{string(s.Workspace), string(s.Environment), i.Type, i.Value} {
		h.buf = appendText(h.buf, text)
	}
	return ErasureID(h.sum(h.buf))
}

func (h *Hasher) sum(b []byte) (out Hash) {
	h.mac.Reset()
	_, _ = h.mac.Write(b) //nolint:errcheck // a hash takes all
	copy(out[:], h.mac.Sum(nil))
	return out
}
