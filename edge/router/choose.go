package router

import "slices"

// maxTurns bounds a schedule's length. Weights are percentages in practice, whose schedules have at most 100 turns.
const maxTurns = 10_000

// schedule is one round of smooth weighted round robin: each index as often as its weight says, and spread out, so
// that 5:1:1 gives aabacaa and not aaaaabc. It is computed once a table, so that a request's turn is one addition.
func schedule(weights []int) []uint16 {
	weights = reduce(weights)
	total := 0
	for _, w := range weights {
		total += w
	}
	current := make([]int, len(weights))
	order := make([]uint16, 0, total)
	for range total {
		best := 0
		for i, w := range weights {
			current[i] += w
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order = append(order, uint16(best))
	}
	return order
}

// reduce divides weights by what they share, and by more when they would need too many turns; nobody falls to nothing.
func reduce(weights []int) []int {
	shared, total := 0, 0
	for _, w := range weights {
		shared = gcd(shared, w)
	}
	reduced := slices.Clone(weights)
	for i := range reduced {
		reduced[i] /= shared
		total += reduced[i]
	}
	if total > maxTurns {
		for i, w := range reduced {
			reduced[i] = max(1, int(float64(w)/float64(total)*maxTurns))
		}
	}
	return reduced
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// choose picks the upstream for a request: the backend whose turn it is, and in it one of the less busy. Upstreams
// that this request has tried are out, and those that lately refused a connection are the last resort. It returns nil
// when nothing is left.
func (r *route) choose(tried []*upstream, now int64) *upstream {
	if len(r.schedule) == 0 {
		return nil
	}
	first := int(r.schedule[(r.turn.Add(1)-1)%uint64(len(r.schedule))])
	var lastResort *upstream
	for i := range r.backends {
		u, down := r.backends[(first+i)%len(r.backends)].choose(tried, now)
		if u != nil {
			return u
		}
		if lastResort == nil {
			lastResort = down
		}
	}
	return lastResort
}

// choose goes round the upstreams from the one whose turn it is, and takes the better of the first two that can be
// taken: the second only when it is less busy. That keeps turns even, and requests away from an instance that hangs.
func (b *backend) choose(tried []*upstream, now int64) (best, down *upstream) {
	n := uint64(len(b.upstreams))
	turn := b.turn.Add(1) - 1
	for i := range n {
		u := b.upstreams[(turn+i)%n]
		switch {
		case slices.Contains(tried, u):
		case u.isDown(now):
			down = u
		case best == nil:
			best = u
		default:
			if u.inflight.Load() < best.inflight.Load() {
				best = u
			}
			return best, nil
		}
	}
	return best, down
}
