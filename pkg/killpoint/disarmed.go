//go:build !killpoints

package killpoint

// Reach says that a place of the protocol is reached. Where one line stands for several places, the second word tells
// them apart: the point is POINT/OF then.
func Reach(_ string, _ ...string) {}
