package thriftwire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/source/databricks/thriftwire"
)

func message() thriftwire.Message {
	at := func(id int16, v thriftwire.Value) thriftwire.Field { return thriftwire.Field{ID: id, Value: v} }
	return thriftwire.Message{Name: "FetchResults", Kind: thriftwire.Reply, Seq: 7, Body: thriftwire.OfStruct(
		at(1, thriftwire.OfBool(true)), at(2, thriftwire.OfInt(thriftwire.I16, -2)), at(3, thriftwire.OfInt(thriftwire.I32, 1<<31-1)),
		at(4, thriftwire.OfInt(thriftwire.I64, -1<<63)), at(5, thriftwire.OfText("text")), at(1281, thriftwire.OfBytes([]byte{0, 255})),
		at(6, thriftwire.OfStruct(at(1, thriftwire.OfList(thriftwire.String, thriftwire.OfText("a"), thriftwire.OfText("b"))))),
		at(7, thriftwire.Value{Type: thriftwire.Map, Key: thriftwire.String, Elem: thriftwire.I32, Items: []thriftwire.Value{thriftwire.OfText("k"), thriftwire.OfInt(thriftwire.I32, 1)}}),
		at(8, thriftwire.OfInt(thriftwire.Double, 4607182418800017408)), at(9, thriftwire.OfInt(thriftwire.Byte, -1)),
	)}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	m := message()
	got, err := thriftwire.Decode(m.Encode())
	require.NoError(t, err)
	require.Equal(t, m, got)
	require.Equal(t, "b", got.Body.At(6, 1).Items[1].Text())
	require.False(t, got.Body.At(6, 1, 5, 9).IsSet())
	require.True(t, got.Body.At(1).IsTrue())
	name, seq := thriftwire.Head(m.Encode())
	require.Equal(t, "FetchResults", name)
	require.EqualValues(t, 7, seq)
}

func TestEveryCutIsMalformed(t *testing.T) {
	b := message().Encode()
	for n := range b {
		_, err := thriftwire.Decode(b[:n])
		require.ErrorIs(t, err, thriftwire.ErrMalformed, "cut at %d", n)
	}
}

func TestDepthAndCountAreBounded(t *testing.T) {
	deep := thriftwire.OfStruct()
	for range 40 {
		deep = thriftwire.OfStruct(thriftwire.Field{ID: 1, Value: deep})
	}
	_, err := thriftwire.Decode(thriftwire.Message{Name: "x", Kind: thriftwire.Call, Body: deep}.Encode())
	require.ErrorIs(t, err, thriftwire.ErrMalformed)

	many := thriftwire.OfList(thriftwire.Bool, make([]thriftwire.Value, 1<<19)...)
	for i := range many.Items {
		many.Items[i].Type = thriftwire.Bool
	}
	_, err = thriftwire.Decode(thriftwire.Message{Name: "x", Kind: thriftwire.Call, Body: thriftwire.OfStruct(thriftwire.Field{ID: 1, Value: many})}.Encode())
	require.ErrorIs(t, err, thriftwire.ErrMalformed)
}

func FuzzDecode(f *testing.F) {
	f.Add(message().Encode())
	f.Add([]byte{0x80, 1, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := thriftwire.Decode(b)
		if err != nil {
			return
		}
		again, err := thriftwire.Decode(m.Encode())
		require.NoError(t, err)
		require.Equal(t, m.Body.Fields == nil, again.Body.Fields == nil)
	})
}
