package hold

// block is how many readings a tape takes memory for at a time.
const block = 64

// A tape is a queue of readings that takes memory in blocks, and gives it back.
type tape struct {
	blocks []*[block]Kept
	first  int // of the first block
	n      int
}

// at returns the one with the number i, from 0.
func (t *tape) at(i int) *Kept {
	i += t.first
	return &t.blocks[i/block][i%block]
}

func (t *tape) push(k Kept) {
	if end := t.first + t.n; end == len(t.blocks)*block {
		t.blocks = append(t.blocks, new([block]Kept))
	}
	t.n++
	*t.at(t.n - 1) = k
}

// pop forgets the first.
func (t *tape) pop() {
	*t.at(0) = Kept{}
	t.first++
	t.n--
	if t.first == block || t.n == 0 {
		t.blocks[0] = nil
		t.blocks, t.first = t.blocks[1:], 0
	}
}

// cut forgets all but the first n.
func (t *tape) cut(n int) {
	for i := n; i < t.n; i++ {
		*t.at(i) = Kept{}
	}
	t.n = n
	if n == 0 {
		*t = tape{}
		return
	}
	used := (t.first + n + block - 1) / block
	clear(t.blocks[used:])
	t.blocks = t.blocks[:used]
}
