package wire

// Messages checks a schema and a batch of Arrow's IPC format that came from elsewhere, such as a warehouse, each a message
// of its own, before Arrow reads them: their metadata lies within their bytes and claims no more than max bytes of data.
// It answers both without what stands behind the messages.
func Messages(schema, batch []byte, max int64) (s, b []byte, err error) {
	v := verifier{left: max, max: max}
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
