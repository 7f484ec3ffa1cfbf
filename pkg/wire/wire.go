// Package wire is the form in which batches pass through the broker: an envelope that says where a batch comes from,
// and its Arrow data as LZ4-compressed IPC, with a checksum over all of it.
//
// Decoding is for bytes that nobody vouches for: it takes no more memory than its limit, and answers a classified
// error, never a panic.
package wire
