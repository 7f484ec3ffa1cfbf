package mapping

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/identity"
	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// kept answers the rows at fault, and those whose record the store may refuse, as they were read.
func (p *Program) kept(c *call, values []arrow.Array) record.Kept {
	var at []int32
	doubtful := p.doubtful(values)
	for i := range c.n {
		if _, bad := c.faults[i]; bad || doubtful(i) {
			at = append(at, int32(i)) //nolint:gosec // a batch is small
		}
	}
	return record.Keep(row.Batch{Record: c.rec}, at)
}

// doubtful answers what says whether a row's record may be refused: a user without an identity that is usable by the
// default policy, a profile id aside, which may name nobody.
func (p *Program) doubtful(values []arrow.Array) func(i int) bool {
	if p.kind == record.Events || p.kind == record.Lookup {
		return func(int) bool { return false }
	}
	var (
		policy  identity.Policy
		columns []*array.String
	)
	for _, at := range p.identities {
		s, ok := values[at].(*array.String)
		if ok && p.leaves[at].identity != identity.MPID {
			columns = append(columns, s)
		}
	}
	return func(i int) bool {
		for _, s := range columns {
			if s.IsValid(i) && policy.Usable(s.Value(i)) {
				return false
			}
		}
		return true
	}
}
