package rpc

import (
	"errors"
	"io"

	"millrace.dev/pkg/fault"
)

func fromStream(err error) error {
	if errors.Is(err, io.EOF) {
		return err
	}
	return fault.FromStatus(err)
}
