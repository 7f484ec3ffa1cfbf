package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// maxForeign bounds a schema from elsewhere as maxFields bounds one of ours: warehouses say much of each field.
const maxForeign = 1 << 17

// Schema checks the schema at the beginning of an Arrow IPC stream that came from elsewhere, such as a warehouse, before
// Arrow reads it, which makes room for whatever a schema claims: its metadata is of at most max bytes, and claims no more
// than it has. Fields may be of any type. It answers the whole stream; of what follows the schema it reads nothing. An
// error of the stream is wrapped.
func Schema(stream io.Reader, max int64) (io.Reader, error) {
	head, size, err := beginning(stream)
	if err != nil {
		return nil, err
	}
	if size == 0 || size > max {
		return nil, errFraming
	}
	metadata, err := io.ReadAll(io.LimitReader(stream, size)) // as much memory as there is data
	if err != nil {
		return nil, fmt.Errorf("read a schema: %w", err)
	}
	if int64(len(metadata)) < size {
		return nil, errFraming
	}
	m := &meta{b: metadata}
	message := m.root()
	if m.bad || message.int64(3) != 0 { // nothing stands behind it
		return nil, errFraming
	}
	v := verifier{most: maxForeign, foreign: true}
	if err := v.message(message, 0, nil); err != nil {
		return nil, err
	}
	if m.bad {
		return nil, errMetadata
	}
	return io.MultiReader(bytes.NewReader(head), bytes.NewReader(metadata), stream), nil
}

// beginning reads what stands before the first message of a stream, in the form that Arrow has had since 0.15 or in the
// one before, and answers how long the message's metadata claims to be.
func beginning(stream io.Reader) (head []byte, size int64, err error) {
	const word = 4
	for range 2 {
		head = append(head, make([]byte, word)...)
		last := head[len(head)-word:]
		if _, err := io.ReadFull(stream, last); err != nil {
			return nil, 0, fmt.Errorf("read a schema: %w", err)
		}
		if size = int64(binary.LittleEndian.Uint32(last)); size != math.MaxUint32 {
			break
		}
	}
	return head, size, nil
}

// Messages checks a schema and a batch of Arrow's IPC format that came from elsewhere, such as a warehouse, each a message
// of its own, before Arrow reads them: their metadata lies within their bytes and claims no more than max bytes of data.
// It answers both without what stands behind the messages.
func Messages(schema, batch []byte, max int64) (s, b []byte, err error) {
	v := verifier{left: max, max: max, most: maxFields}
	out := [][]byte{schema, batch}
	for step, data := range out {
		metadata, rest, err := frame(data)
		if err != nil {
			return nil, nil, err
		}
		m := &meta{b: metadata}
		message := m.root()
		length := message.int64(3)
		if m.bad || length < 0 || length > int64(len(rest)) {
			return nil, nil, errFraming
		}
		if err := v.message(message, step, rest[:length]); err != nil {
			return nil, nil, err
		}
		if m.bad {
			return nil, nil, errMetadata
		}
		out[step] = data[:int64(len(data)-len(rest))+length]
	}
	if v.batches != 1 {
		return nil, nil, errFraming
	}
	return out[0], out[1], nil
}
