package profile

import (
	"encoding/binary"
	"strings"

	"millrace.dev/pkg/id"
)

// Spaces of a scope beside that of people and their events.
const (
	spaceGroup   = "group:"
	spaceLookup  = "lookup:"
	spaceHistory = "history"
	spaceMembers = "members"
)

// in answers the scope of another space beside s's own.
func (s Scope) in(space string) Scope {
	if s.Space != "" {
		space = s.Space + "/" + space
	}
	return Scope{s.Workspace, s.Environment, space}
}

// Groups answers the scope of the groups of a type. There a group is a profile whose one identity has the group's type
// and id.
func (s Scope) Groups(groupType string) Scope { return s.in(spaceGroup + groupType) }

// Lookup answers the scope of the lookup table that a sync fills. There a row is an event: its profile is LookupKey's,
// its time the generation of the table.
func (s Scope) Lookup(sync id.Sync) Scope { return s.in(spaceLookup + sync.String()) }

// History answers the scope of the histories of the profiles, or groups, of s. There a version is an event whose time is
// its start.
func (s Scope) History() Scope { return s.in(spaceHistory) }

// Members answers the scope of the index of who is in which group. There a member is an event of the profile that
// MembersKey answers. The index is a hint: it may name profiles that have left.
func (s Scope) Members() Scope { return s.in(spaceMembers) }

// IsIndex says whether all that is in s follows from what is in other scopes.
func (s Scope) IsIndex() bool {
	return s.Space == spaceMembers || strings.HasSuffix(s.Space, "/"+spaceMembers)
}

// MembersKey answers the profile under which Members has the members of a group.
func MembersKey(s Scope, groupType, groupID string) id.Profile {
	return Derive(s.Members(), groupType, groupID, 0)
}

// LookupKey answers the profile under which the lookup table of scope s has the row of a key: its values joined as
// record.ColumnKeyValues has them.
func LookupKey(s Scope, keyValues string) id.Profile { return Derive(s, "key", keyValues, 0) }

// MemberID answers the id of the entries of p in Members.
func MemberID(p id.Profile) (e EventID) {
	binary.BigEndian.PutUint64(e[8:], uint64(p))
	return e
}

// MemberOf answers the profile of an entry of Members.
func MemberOf(e EventID) id.Profile { return id.Profile(binary.BigEndian.Uint64(e[8:])) }
