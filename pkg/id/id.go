// Package id names the things that Millrace moves and accounts for, one type each, so that the compiler catches a swap.
package id

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// DefaultWorkspace is the workspace of a request that names none.
const DefaultWorkspace Workspace = "default"

// Workspace names a tenant.
type Workspace string

// Or answers w, or DefaultWorkspace when w is empty.
func (w Workspace) Or() Workspace {
	if w == "" {
		return DefaultWorkspace
	}
	return w
}

// Sync is the uid of a sync: given at creation, never reused, sixteen bytes of a UUID.
type Sync [16]byte

// NewSync answers a fresh uid.
func NewSync() Sync { return Sync(uuid.New()) }

// ParseSync reads the text form of a uid.
func ParseSync(s string) (Sync, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return Sync{}, fmt.Errorf("sync uid %q is not a UUID", s)
	}
	return Sync(u), nil
}

func (s Sync) String() string { return uuid.UUID(s).String() }

// Run is the id of a run: a UUIDv7, so that ids order by time of creation.
type Run [16]byte

// NewRun answers a fresh run id.
func NewRun() Run { return Run(uuid.Must(uuid.NewV7())) }

// ParseRun reads the text form of a run id.
func ParseRun(s string) (Run, error) {
	u, err := uuid.Parse(s)
	if err != nil {
		return Run{}, fmt.Errorf("run id %q is not a UUID", s)
	}
	return Run(u), nil
}

// IsZero says whether r names no run.
func (r Run) IsZero() bool { return r == Run{} }

func (r Run) String() string { return uuid.UUID(r).String() }

// Time answers when the id was made, to the millisecond.
func (r Run) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], r[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC() //nolint:gosec // 48 bits
}

// Part names a part of a run. Part 0 is the planning.
type Part struct {
	Run  Run
	Part uint32
}

func (p Part) String() string { return p.Run.String() + "/" + strconv.FormatUint(uint64(p.Part), 10) }

// Batch names a batch, or a fragment of it, for ever (design: Names). The zero fragment is also the name of a batch
// that was not cut.
type Batch struct {
	Run      Run
	Part     uint32
	Epoch    uint32
	Seq      uint32
	Fragment uint32
}

// String answers run/part/epoch/seq/fragment. It is the broker's message id and the key that makes a second delivery
// harmless.
func (b Batch) String() string {
	return fmt.Sprintf("%s/%d/%d/%d/%d", b.Run, b.Part, b.Epoch, b.Seq, b.Fragment)
}

// Whole answers the name of the batch that the fragment b belongs to.
func (b Batch) Whole() Batch {
	b.Fragment = 0
	return b
}

// ParseBatch reads the text form of a batch's name.
func ParseBatch(s string) (Batch, error) {
	f := strings.Split(s, "/")
	if len(f) != 5 {
		return Batch{}, fmt.Errorf("batch id %q does not have the form run/part/epoch/seq/fragment", s)
	}
	run, err := ParseRun(f[0])
	if err != nil {
		return Batch{}, err
	}
	var n [4]uint32
	for i, t := range f[1:] {
		v, err := strconv.ParseUint(t, 10, 32)
		if err != nil {
			return Batch{}, fmt.Errorf("batch id %q: %q is not a number", s, t)
		}
		n[i] = uint32(v)
	}
	return Batch{Run: run, Part: n[0], Epoch: n[1], Seq: n[2], Fragment: n[3]}, nil
}

// Row is a row key: the hash of a row's key values, or of the whole row where a model has no key columns.
type Row [16]byte

func (r Row) String() string { return hex.EncodeToString(r[:]) }

// Profile is an mpid. Zero means none.
type Profile uint64

func (p Profile) String() string { return strconv.FormatUint(uint64(p), 10) }

// ParseProfile reads the decimal text of an mpid.
func ParseProfile(s string) (Profile, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v == 0 {
		return 0, fmt.Errorf("mpid %q is not a positive number", s)
	}
	return Profile(v), nil
}
