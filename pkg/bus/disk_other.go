//go:build !linux && !darwin

package bus

import "os"

func freeBytes(string) (int64, bool) { return 0, false }

func lockFile(*os.File) error { return nil }
