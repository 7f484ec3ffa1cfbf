package pebble

import (
	"cmp"
	"slices"
	"strings"
)

// wanted is a position of a batch, with the first bytes of its key as a number.
type wanted struct {
	prefix uint64
	at     int32
}

// order sorts positions; it keeps its memory from use to use.
type order struct {
	todo  []wanted
	spare []wanted
}

func (o *order) reset() { o.todo = o.todo[:0] }

func (o *order) add(prefix uint64, at int) {
	o.todo = append(o.todo, wanted{prefix, int32(at)}) //nolint:gosec // positions of a batch are int32
}

// fewWanted is up to how many positions comparing is faster than counting.
const fewWanted = 512

// sort orders by prefix, by counting bytes from the last to the first. Equal prefixes stay in the order they came in.
func (o *order) sort() {
	if len(o.todo) <= fewWanted {
		slices.SortStableFunc(o.todo, func(a, b wanted) int { return cmp.Compare(a.prefix, b.prefix) })
		return
	}
	var counts [8][256]int32
	for i := range o.todo {
		p := o.todo[i].prefix
		for b := range counts {
			counts[b][byte(p>>(8*b))]++
		}
	}
	from, to := o.todo, slices.Grow(o.spare[:0], len(o.todo))[:len(o.todo)]
	for b := range counts {
		c := &counts[b]
		shift := 8 * b
		if int(c[byte(from[0].prefix>>shift)]) == len(from) {
			continue // all have the same byte here
		}
		sum := int32(0)
		for d := range c {
			c[d], sum = sum, sum+c[d]
		}
		for i := range from {
			d := byte(from[i].prefix >> shift)
			to[c[d]] = from[i]
			c[d]++
		}
		from, to = to, from
	}
	o.todo, o.spare = from, to
}

// sortText orders by the texts that prefixes are the beginnings of.
func (o *order) sortText(text func(at int32) string) {
	o.sort()
	for i := 0; i < len(o.todo); {
		j := i + 1
		for j < len(o.todo) && o.todo[j].prefix == o.todo[i].prefix {
			j++
		}
		if j > i+1 {
			slices.SortFunc(o.todo[i:j], func(a, b wanted) int { return strings.Compare(text(a.at), text(b.at)) })
		}
		i = j
	}
}

// prefixOf answers the first bytes of v as a number that orders as they do.
func prefixOf(v string) uint64 {
	if len(v) >= 8 {
		return uint64(v[0])<<56 | uint64(v[1])<<48 | uint64(v[2])<<40 | uint64(v[3])<<32 |
			uint64(v[4])<<24 | uint64(v[5])<<16 | uint64(v[6])<<8 | uint64(v[7])
	}
	var p uint64
	for i := range 8 {
		p <<= 8
		if i < len(v) {
			p |= uint64(v[i])
		}
	}
	return p
}
