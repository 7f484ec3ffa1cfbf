package source

import (
	"fmt"
	"regexp"
	"strconv"
)

// Kept is a snapshot that a ChangeReader keeps in a warehouse as a table of its own: which one, and what must be in it for
// it to be whole. Its text is the State.
type Kept struct {
	Owner   string
	Attempt Attempt
	Rows    int64
	// Unique says that no two rows have the same key, and none a NULL in it.
	Unique bool
}

// ownerName is what may stand in the name of a table or file.
//
//nolint:gochecknoglobals // compiled once, never changed
var (
	ownerName = regexp.MustCompile(`^[0-9a-zA-Z]{1,24}$`)
	keptText  = regexp.MustCompile(`^([0-9a-zA-Z]{1,24})_(\d{1,18})_(\d{1,10}) of (\d{1,18}) (unique )?rows$`)
	keptTable = regexp.MustCompile(TablePattern)
)

// TablePattern is a regular expression of the names of Kept's tables, as RE2 and POSIX read it.
const TablePattern = `^m_([0-9a-zA-Z]{1,24})_([0-9]{1,18})_([0-9]{1,10})(_changes)?$`

// IsOwner says whether a text can own states: up to 24 letters and digits.
func IsOwner(s string) bool { return ownerName.MatchString(s) }

// State answers the text that names k.
func (k Kept) State() State {
	unique := ""
	if k.Unique {
		unique = "unique "
	}
	return State(fmt.Sprintf("%s_%d_%d of %d %srows", k.Owner, k.Attempt.Run, k.Attempt.Epoch, k.Rows, unique))
}

// Table names the snapshot's table, and Changes the table of the keys that it found changed: at most 63 bytes.
func (k Kept) Table() string {
	return fmt.Sprintf("m_%s_%d_%d", k.Owner, k.Attempt.Run, k.Attempt.Epoch)
}

// Changes names the table of changed keys.
func (k Kept) Changes() string { return k.Table() + "_changes" }

// ParseKept reads what State wrote; false for anything else.
func ParseKept(s State) (Kept, bool) {
	m := keptText.FindStringSubmatch(string(s))
	if m == nil {
		return Kept{}, false
	}
	k, ok := keptOf(m[1], m[2], m[3])
	rows, err := strconv.ParseInt(m[4], 10, 64)
	k.Rows, k.Unique = rows, m[5] != ""
	return k, ok && err == nil
}

// TableAttempt answers whose and which attempt's a table is; false where it is none of Kept's.
func TableAttempt(table string) (string, Attempt, bool) {
	m := keptTable.FindStringSubmatch(table)
	if m == nil {
		return "", Attempt{}, false
	}
	k, ok := keptOf(m[1], m[2], m[3])
	return k.Owner, k.Attempt, ok
}

// IsUpTo says whether a table is one of Kept's, of an owner's attempts up to last, itself included.
func IsUpTo(table, owner string, last Attempt) bool {
	whose, at, ok := TableAttempt(table)
	return ok && whose == owner && !last.Before(at)
}

// TablesOf names all of an owner's tables, for people.
func TablesOf(owner string) string { return "the tables m_" + owner + "_*" }

func keptOf(owner, run, epoch string) (Kept, bool) {
	n, err := strconv.ParseInt(run, 10, 64)
	e, err2 := strconv.ParseUint(epoch, 10, 32)
	return Kept{Owner: owner, Attempt: Attempt{Run: n, Epoch: uint32(e)}}, err == nil && err2 == nil
}
