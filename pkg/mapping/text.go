package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"millrace.dev/pkg/record"
	"millrace.dev/pkg/row"
)

// toString makes text of any value: numbers in plain notation, decimals with their scale, instants RFC 3339 in UTC,
// lists and objects as JSON.
func (f *flow) toString() {
	switch f.class {
	case classText:
	case classJSON:
		f.then(classText, utf8Type(), canonicalJSON(false))
	case classList, classStruct:
		f.then(classText, utf8Type(), jsonText(arrow.Field{Type: f.typ}))
	default:
		f.then(classText, utf8Type(), plainTexts)
	}
}

// plainTexts makes text of scalars.
func plainTexts(_ *call, in arrow.Array) arrow.Array {
	switch a := in.(type) {
	case *array.Int64:
		return toText(in, 8, func(dst []byte, i int) ([]byte, bool) { return strconv.AppendInt(dst, a.Value(i), 10), true })
	case *array.Float64:
		return toText(in, 8, func(dst []byte, i int) ([]byte, bool) {
			return strconv.AppendFloat(dst, a.Value(i), 'f', -1, 64), true
		})
	case *array.Boolean:
		return toText(in, 5, func(dst []byte, i int) ([]byte, bool) { return strconv.AppendBool(dst, a.Value(i)), true })
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale //nolint:forcetypeassert // by the array
		return toText(in, 10, func(dst []byte, i int) ([]byte, bool) { return record.AppendDecimal(dst, a.Value(i), scale), true })
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit //nolint:forcetypeassert // by the array
		return toText(in, 24, func(dst []byte, i int) ([]byte, bool) {
			return record.AppendInstant(dst, int64(a.Value(i)), unit), true
		})
	case *array.Date32:
		return toText(in, 10, func(dst []byte, i int) ([]byte, bool) { return record.AppendDate(dst, int64(a.Value(i))), true })
	}
	return in
}

// canonicalText makes the text of identities: as plainTexts, but decimals without trailing zeros.
func canonicalText(k class) op {
	switch k {
	case classText:
		return nil
	case classInteger:
		return func(c *call, in arrow.Array) arrow.Array {
			if c.cur.column >= 0 && c.cur.member < 0 && c.rec.Column(c.cur.column) == in {
				return c.columnText(c.cur.column)
			}
			return plainTexts(c, in)
		}
	case classDecimal:
		return func(_ *call, in arrow.Array) arrow.Array {
			return toText(in, 10, func(dst []byte, i int) ([]byte, bool) { return row.AppendCanonicalText(dst, in, i), true })
		}
	}
	return plainTexts
}

// columnText answers the text of an int64 column, made once per call.
func (c *call) columnText(at int) *array.String {
	if t, ok := c.texts[at]; ok {
		return t
	}
	if c.texts == nil {
		c.texts = map[int]*array.String{}
	}
	t := plainTexts(c, c.rec.Column(at)).(*array.String) //nolint:forcetypeassert // plainTexts of integers
	c.texts[at] = t
	return t
}

// emptyToNull makes NULL of empty texts.
func emptyToNull(_ *call, in arrow.Array) arrow.Array {
	s := in.(*array.String) //nolint:forcetypeassert // by newLeaf
	empty := false
	nulls := s.NullN() > 0
	for i := range s.Len() {
		if s.ValueLen(i) == 0 && (!nulls || s.IsValid(i)) {
			empty = true
			break
		}
	}
	if !empty {
		return in
	}
	return toText(in, 16, func(dst []byte, i int) ([]byte, bool) { return append(dst, s.Value(i)...), s.ValueLen(i) > 0 })
}

// toTransformed makes text and applies the transforms in the order written.
func (f *flow) toTransformed(names []string) {
	f.toString()
	f.then(classText, utf8Type(), transform(names))
}

// edit changes the text that begins at start in place, or by growing dst.
type edit func(dst []byte, start int) []byte

func editsOf(names []string) []edit {
	var edits []edit
	for _, n := range names {
		switch n {
		case "trim":
			edits = append(edits, trim)
		case "lower":
			edits = append(edits, lower)
		case "upper":
			edits = append(edits, upper)
		case "sha256":
			edits = append(edits, digest)
		case "mask":
			edits = append(edits, mask)
		}
	}
	return edits
}

func transform(names []string) op {
	edits := editsOf(names)
	return func(_ *call, in arrow.Array) arrow.Array {
		s := in.(*array.String) //nolint:forcetypeassert // by toString
		n := s.Len()
		t := newTexts(n, len(s.ValueBytes()))
		nulls := s.NullN() > 0
		for i := range n {
			if nulls && s.IsNull(i) {
				t.null()
				continue
			}
			start := len(t.data)
			t.data = append(t.data, s.Value(i)...)
			for _, e := range edits {
				t.data = e(t.data, start)
			}
			t.end()
		}
		return t.array()
	}
}

// trim takes white space off both ends.
func trim(dst []byte, start int) []byte {
	end := len(dst)
	for end > start {
		n := spaceBefore(dst[start:end])
		if n == 0 {
			break
		}
		end -= n
	}
	from := start
	for from < end {
		n := spaceAt(dst[from:end])
		if n == 0 {
			break
		}
		from += n
	}
	if from > start {
		copy(dst[start:], dst[from:end])
	}
	return dst[:start+end-from]
}

// spaceAt answers the length of the white space that b begins with, 0 for none.
func spaceAt(b []byte) int {
	if b[0] > ' ' && b[0] < utf8.RuneSelf {
		return 0
	}
	r, n := utf8.DecodeRune(b)
	if !unicode.IsSpace(r) {
		return 0
	}
	return n
}

// spaceBefore answers the length of the white space that b ends with, 0 for none.
func spaceBefore(b []byte) int {
	if c := b[len(b)-1]; c > ' ' && c < utf8.RuneSelf {
		return 0
	}
	r, n := utf8.DecodeLastRune(b)
	if !unicode.IsSpace(r) {
		return 0
	}
	return n
}

func lower(dst []byte, start int) []byte { return fold(dst, start, 'A', 'Z', unicode.ToLower) }

func upper(dst []byte, start int) []byte { return fold(dst, start, 'a', 'z', unicode.ToUpper) }

// fold changes the case: bytes from..to in place, other text rune by rune.
func fold(dst []byte, start int, from, to byte, by func(rune) rune) []byte {
	for i := start; i < len(dst); i++ {
		switch b := dst[i]; {
		case b >= from && b <= to:
			dst[i] = b ^ 0x20
		case b >= utf8.RuneSelf:
			rest := string(dst[i:])
			dst = dst[:i]
			for _, r := range rest {
				dst = utf8.AppendRune(dst, by(r))
			}
			return dst
		}
	}
	return dst
}

// digest replaces a text by its SHA-256 in lower-case hexadecimal. An empty text stays empty: it is nobody's.
func digest(dst []byte, start int) []byte {
	if len(dst) == start {
		return dst
	}
	sum := sha256.Sum256(dst[start:])
	return hex.AppendEncode(dst[:start], sum[:])
}

const maskKeeps = 4

// mask replaces every character but the last four by a star; shorter texts are masked whole.
func mask(dst []byte, start int) []byte {
	text := string(dst[start:])
	hide := utf8.RuneCountInString(text)
	if hide > maskKeeps {
		hide -= maskKeeps
	}
	dst = dst[:start]
	for _, r := range text {
		if hide > 0 {
			hide--
			r = '*'
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
