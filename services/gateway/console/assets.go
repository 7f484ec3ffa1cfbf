package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"time"

	"millrace.dev/pkg/fault"
)

//go:embed assets
var assetFiles embed.FS

// assets are stylesheets, scripts and pictures. Their addresses have the hash of them all, so that they are kept for ever
// and a new version is a new address.
type assets struct {
	version string
	files   map[string][]byte
}

func readAssets() (assets, error) {
	a := assets{files: map[string][]byte{}}
	sum := sha256.New()
	err := fs.WalkDir(assetFiles, "assets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := assetFiles.ReadFile(path)
		if err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		a.files[d.Name()] = b
		_, _ = sum.Write(b) // never fails
		return nil
	})
	if err != nil {
		return assets{}, fault.New(fault.Internal, fault.ReasonInternal, "read the console's assets: %w", err)
	}
	a.version = hex.EncodeToString(sum.Sum(nil)[:8])
	return a, nil
}

// path answers the address of an asset.
func (a assets) path(name string) string { return "/assets/" + a.version + "/" + name }

// ServeHTTP answers an asset. An older version's address is answered with what is there now, and not kept.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, ok := a.files[r.PathValue("name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.PathValue("version") == a.version {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, r.PathValue("name"), time.Time{}, bytes.NewReader(b))
}
