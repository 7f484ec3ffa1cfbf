//go:build cgo && duckdb_arrow

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/zeebo/xxh3"
)

// ceilingRows is how many rows a ceiling is measured over.
const ceilingRows = 500_000

// ceilings measures what single stages reach on this machine without Millrace.
func ceilings(ctx context.Context, dir string, seed int64) ([]ceiling, error) {
	dir = filepath.Join(dir, "ceilings")
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the way of nothing but the disk
	path := filepath.Join(dir, "users.duckdb")
	if err := makeUsers(ctx, path, ceilingRows, seed); err != nil {
		return nil, err
	}
	var out []ceiling
	add := func(id string, f func() error) error {
		began := time.Now()
		if err := f(); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		out = append(out, ceiling{ID: id, RowsPerSecond: ceilingRows / time.Since(began).Seconds()})
		return nil
	}
	var batches []arrow.RecordBatch
	err := errors.Join(
		add("duckdb_scan", func() (err error) {
			batches, err = scan(ctx, path, "SELECT * FROM users")
			return err
		}),
		add("hop_lz4", func() error { return hop(ctx, filepath.Join(dir, "js"), batches) }),
		add("pebble_write_sorted", func() error { return sorted(filepath.Join(dir, "pebble")) }),
	)
	return out, err
}

// hop encodes batches with LZ4, publishes them to a stream on disk, pulls and decodes them.
func hop(ctx context.Context, dir string, batches []arrow.RecordBatch) error {
	ns, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoLog: true, NoSigs: true, MaxPayload: 2 << 20, SyncAlways: true})
	if err != nil {
		return fmt.Errorf("start nats: %w", err)
	}
	ns.Start()
	defer func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	}()
	nc, err := nats.Connect("", nats.InProcessServer(ns))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("jetstream: %w", err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "hop", Subjects: []string{"hop"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage}); err != nil {
		return fmt.Errorf("make the stream: %w", err)
	}
	cons, err := js.CreateConsumer(ctx, "hop", jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 8})
	if err != nil {
		return fmt.Errorf("make the consumer: %w", err)
	}
	for _, b := range batches {
		var buf bytes.Buffer
		w := ipc.NewWriter(&buf, ipc.WithSchema(b.Schema()), ipc.WithLZ4())
		if err := errors.Join(w.Write(b), w.Close()); err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		if _, err := js.Publish(ctx, "hop", buf.Bytes()); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		m, err := cons.Next()
		if err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		r, err := ipc.NewReader(bytes.NewReader(m.Data()))
		if err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		if _, err := r.Read(); err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		if err := m.Ack(); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
	}
	return nil
}

// sorted writes a row-index entry, two identities and a merge of 200 bytes for each row, under scattered keys that are
// sorted per batch of 16k. It looks nothing up.
func sorted(dir string) error {
	o := &pebble.Options{MemTableSize: 128 << 20, MemTableStopWritesThreshold: 2, L0CompactionThreshold: 16, L0StopWritesThreshold: 64, LBaseMaxBytes: 512 << 20, Logger: quiet{}}
	o.EnsureDefaults()
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, o)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer db.Close()
	const batch = 16384
	value := bytes.Repeat([]byte("0123456789"), 20)
	for from := 0; from < ceilingRows; from += batch {
		b := db.NewBatchWithSize(8 << 20)
		for _, space := range "riep" {
			keys := make([]uint64, min(batch, ceilingRows-from))
			var n [8]byte
			for i := range keys {
				binary.BigEndian.PutUint64(n[:], uint64(from+i))
				keys[i] = xxh3.HashSeed(n[:], uint64(space))
			}
			slices.SortFunc(keys, cmp.Compare)
			if err := putSorted(b, byte(space), keys, value); err != nil {
				return err
			}
		}
		if err := b.Commit(pebble.Sync); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	return nil
}

// putSorted puts keys in their order. Profiles are merged blindly.
func putSorted(b *pebble.Batch, space byte, keys []uint64, value []byte) error {
	key := make([]byte, 9)
	key[0] = space
	for _, k := range keys {
		binary.BigEndian.PutUint64(key[1:], k)
		put, v := b.Set, value[:40]
		if space == 'p' {
			put, v = b.Merge, value
		}
		if err := put(key, v, nil); err != nil {
			return fmt.Errorf("put: %w", err)
		}
	}
	return nil
}

// quiet is a logger that says nothing.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(f string, a ...any) {
	fmt.Fprintf(os.Stderr, f+"\n", a...)
	os.Exit(1)
}
