package testenv

import (
	"os"
	"testing"
)

// The program by the names that it has: Chromium, and what is built of it and answers the same protocol.
var chromiumNames = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} //nolint:gochecknoglobals // a constant list

// Chromium answers the path of a Chromium that runs without a screen. It fails t, never skips, where there is none to be had.
func Chromium(t testing.TB) string {
	t.Helper()
	if p := os.Getenv(EnvChromium); p != "" {
		return p
	}
	if p, ok := findChromium(); ok {
		return p
	}
	if err := installDebian("chromium"); err != nil {
		t.Fatalf("Chromium is needed: set %s to its path, or install chromium (%v)", EnvChromium, err)
	}
	p, ok := findChromium()
	if !ok {
		t.Fatal("Chromium is needed, and the package chromium has none")
	}
	return p
}

func findChromium() (string, bool) {
	for _, name := range chromiumNames {
		if p, ok := find(name); ok {
			return p, true
		}
	}
	return find("Google Chrome", "/Applications/Google Chrome.app/Contents/MacOS")
}
