package main

import (
	"errors"
	"fmt"
	"slices"

	"naru/bench/measure"
)

// exec compares one more process in a container, the whole client process each time.
func (b *bench) exec() error {
	fmt.Println("\nexec true in a container, whole process")
	var contestants []measure.Contestant
	var remove []func() error
	for _, s := range b.sides {
		id, err := s.Start(b.ctx, sleeper())
		if err != nil {
			return err
		}
		remove = append(remove, func() error { return s.Remove(b.ctx, id) })
		contestants = append(contestants, measure.Contestant{Name: s.name, Do: func() error { return s.Exec(id, "/busybox", "true") }})
	}
	all, err := measure.Alternate(b.Warmup, 2*b.Rounds, contestants...)
	if err != nil {
		return err
	}
	for _, f := range remove {
		err = errors.Join(err, f())
	}
	b.compare(all, 1.0/10)
	return err
}

// compare prints the series, and how naru's stands to dockerd's where that takes part.
func (b *bench) compare(all []measure.Series, most float64) {
	measure.Print(all...)
	if len(all) > 1 {
		measure.Versus(all[0], all[1], most)
	}
}

// grow starts more and more containers, and sees how long one takes in between.
func (b *bench) grow() error {
	var first measure.Series
	all := max(b.many, b.docker)
	for _, n := range slices.Compact([]int{0, min(100, all), all}) {
		for _, s := range b.sides { // not at once: each rate is that of one engine on the whole machine
			if err := s.fill(b.ctx, n, b.parallel); err != nil {
				return err
			}
		}
		if n == all {
			b.printRates()
		}
		took, err := b.latency()
		if err != nil {
			return err
		}
		if n == 0 {
			first = took[0]
			continue
		}
		measure.Versus(took[0], first, 1.5)
	}
	return nil
}

// latency is how long one start through the API takes beside what runs.
func (b *bench) latency() ([]measure.Series, error) {
	fmt.Println("\na start through the API beside so many containers")
	var contestants []measure.Contestant
	for _, s := range b.sides {
		contestants = append(contestants, s.start(b.ctx))
	}
	return b.Alternate(contestants...)
}

func (b *bench) printRates() {
	fmt.Printf("\nstarts a second, %d at once\n", b.parallel)
	for _, s := range b.sides {
		fmt.Printf("%-12s %.1f, until there were %d\n", s.name, s.rate, s.has)
	}
	if len(b.sides) > 1 {
		measure.AtLeast("rate naru / docker", b.sides[0].rate/b.sides[1].rate, 1)
	}
}

// list compares the list of all containers, the whole client process each time.
func (b *bench) list() error {
	fmt.Println("\ncontainer ls, docker ps, whole process")
	var contestants []measure.Contestant
	for _, s := range b.sides {
		contestants = append(contestants, measure.Contestant{Name: s.title(), Do: func() error {
			listed, err := s.List()
			if err == nil && listed != s.has {
				err = fmt.Errorf("%s lists %d containers of %d", s.name, listed, s.has)
			}
			return err
		}})
	}
	all, err := measure.Alternate(b.Warmup, 2*b.Rounds, contestants...)
	if err != nil {
		return err
	}
	measure.Print(all...)
	measure.AtMost("ms of "+all[0].Name, all[0].Median().Seconds()*1000, 50)
	return nil
}

// idleTime is what the engines do while nobody wants anything.
func (b *bench) idleTime() error {
	fmt.Printf("\na core's time while nothing happens for %v, percent\n", b.idle)
	return each(b.sides, func(s *side) error {
		share, err := s.use(b.ctx, b.idle)
		if err == nil {
			s.print(share*100, 1)
		}
		return err
	})
}

// memory is what the engines need beyond the containers' own processes, each page that is shared divided among its users.
func (b *bench) memory() error {
	fmt.Println("\nmemory (PSS) of the engine a container, MB, beyond the container's own processes")
	for _, s := range b.sides {
		containers, own, err := s.processes(b.ctx)
		if err != nil {
			return err
		}
		overhead, err := measure.PSS(own)
		if err != nil {
			return err
		}
		theirs, err := measure.PSS(containers)
		if err != nil {
			return err
		}
		const mb = 1e6
		fmt.Printf("%-12s %.0f MB in %d processes; the containers' own %.1f MB\n", s.name, float64(overhead)/mb, len(own), float64(theirs)/mb)
		s.print(float64(overhead)/mb/float64(s.has), 1)
	}
	return nil
}
