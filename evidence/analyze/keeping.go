package analyze

// keeping is a map that holds the newest entries: past its limit the oldest are
// let go, and whoever made it is told.
type keeping[K comparable, V any] struct {
	limit int
	gone  func(V)
	now   map[K]kept[V]
	order []aged[K] // from head on
	head  int
	puts  uint64
}

type kept[V any] struct {
	value V
	put   uint64
}

type aged[K comparable] struct {
	key K
	put uint64
}

func newKeeping[K comparable, V any](limit int, gone func(V)) keeping[K, V] {
	return keeping[K, V]{limit: limit, gone: gone, now: map[K]kept[V]{}}
}

func (k *keeping[K, V]) get(key K) (V, bool) {
	v, ok := k.now[key]
	return v.value, ok
}

// put enters a value as the newest, in place of the one with that key.
func (k *keeping[K, V]) put(key K, v V) {
	k.puts++
	k.now[key] = kept[V]{v, k.puts}
	k.order = append(k.order, aged[K]{key, k.puts})
	// What was put again stands in the order twice; it counts from the last time.
	for len(k.now) > k.limit || len(k.order)-k.head > 2*k.limit {
		old := k.order[k.head]
		k.head++
		if e, ok := k.now[old.key]; ok && e.put == old.put {
			delete(k.now, old.key)
			if k.gone != nil {
				k.gone(e.value)
			}
		}
	}
	if k.head > 1024 && k.head*2 > len(k.order) {
		n := copy(k.order, k.order[k.head:])
		clear(k.order[n:])
		k.order, k.head = k.order[:n], 0
	}
}

// drop lets go of an entry that is not wanted any more; nobody is told.
func (k *keeping[K, V]) drop(key K) { delete(k.now, key) }
