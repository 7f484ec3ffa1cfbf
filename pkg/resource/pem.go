package resource

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // how openssl encrypts keys by -v2 des3, which Snowflake's manual says to do
	"crypto/pbkdf2"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // PBKDF2's default
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"hash"
)

// encryptedPEM is the type of a PEM block with an encrypted PKCS 8 key.
const encryptedPEM = "ENCRYPTED PRIVATE KEY"

// Why a private key is not read.
var (
	errNoKey         = errors.New("no private RSA key in PEM form")
	errNoPassphrase  = errors.New("the key is encrypted, and there is no passphrase")
	errPassphrase    = errors.New("the passphrase does not open the key")
	errKeyEncryption = errors.New("the key is encrypted in a way that is not read")
)

// ParseRSAKey reads a private RSA key from PEM text: PKCS 1, PKCS 8, or PKCS 8 encrypted by a passphrase (PBES2 with PBKDF2
// and AES or triple DES in CBC, as openssl pkcs8 -topk8 writes it). A passphrase of a key that is not encrypted is not
// looked at. The error shows nothing of either.
func ParseRSAKey(text, passphrase string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errNoKey
	}
	der := block.Bytes
	if block.Type == encryptedPEM {
		if passphrase == "" {
			return nil, errNoPassphrase
		}
		var err error
		if der, err = decrypt(der, passphrase); err != nil {
			return nil, err
		}
	} else if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	own, ok := key.(*rsa.PrivateKey)
	switch {
	case ok:
		return own, nil
	case err != nil && block.Type == encryptedPEM: // one wrong passphrase in 256 leaves what looks like padding
		return nil, errPassphrase
	}
	return nil, errNoKey
}

//nolint:gochecknoglobals // never changed
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}

	digests = map[string]func() hash.Hash{
		"": sha1.New, "1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.9": sha256.New, "1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
	}
	ciphers = map[string]struct {
		key   int // bytes
		block func([]byte) (cipher.Block, error)
	}{
		"2.16.840.1.101.3.4.1.2": {16, aes.NewCipher}, "2.16.840.1.101.3.4.1.22": {24, aes.NewCipher}, "2.16.840.1.101.3.4.1.42": {32, aes.NewCipher},
		"1.2.840.113549.3.7": {24, des.NewTripleDESCipher},
	}
)

// maxIterations bounds the work that a key may ask for: a few seconds.
const maxIterations = 2_000_000

// decrypt opens an EncryptedPrivateKeyInfo (RFC 5208) by PBES2 (RFC 8018).
func decrypt(der []byte, passphrase string) ([]byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	var scheme struct{ Derivation, Encryption pkix.AlgorithmIdentifier }
	var derivation struct {
		Salt       []byte
		Iterations int
		Length     int                      `asn1:"optional"`
		Digest     pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	var iv []byte
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return nil, errNoKey
	}
	if !info.Algorithm.Algorithm.Equal(oidPBES2) || !unmarshal(info.Algorithm.Parameters, &scheme) || !scheme.Derivation.Algorithm.Equal(oidPBKDF2) ||
		!unmarshal(scheme.Derivation.Parameters, &derivation) || !unmarshal(scheme.Encryption.Parameters, &iv) {
		return nil, errKeyEncryption
	}
	by, known := ciphers[scheme.Encryption.Algorithm.String()]
	digest := digests[derivation.Digest.Algorithm.String()]
	if !known || digest == nil || derivation.Iterations < 1 || derivation.Iterations > maxIterations {
		return nil, errKeyEncryption
	}
	key, err := pbkdf2.Key(digest, passphrase, derivation.Salt, derivation.Iterations, by.key)
	if err != nil {
		return nil, errKeyEncryption
	}
	block, err := by.block(key)
	if err != nil || len(iv) != block.BlockSize() || len(info.Data) == 0 || len(info.Data)%block.BlockSize() != 0 {
		return nil, errKeyEncryption
	}
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(info.Data, info.Data)
	return unpad(info.Data, block.BlockSize())
}

func unmarshal(raw asn1.RawValue, to any) bool {
	rest, err := asn1.Unmarshal(raw.FullBytes, to)
	return err == nil && len(rest) == 0
}

// unpad takes off the padding of the last block.
func unpad(data []byte, size int) ([]byte, error) {
	n := int(data[len(data)-1])
	if n < 1 || n > size {
		return nil, errPassphrase
	}
	for _, b := range data[len(data)-n:] {
		if int(b) != n {
			return nil, errPassphrase
		}
	}
	return data[:len(data)-n], nil
}
