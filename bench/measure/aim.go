package measure

import "fmt"

// Ratio is the first's median divided by the second's.
func Ratio(a, b Series) float64 { return float64(a.Median()) / float64(b.Median()) }

// Versus prints how the first's median stands to the second's, and the ratio that is aimed at.
func Versus(a, b Series, most float64) {
	AtMost(fmt.Sprintf("ratio %s / %s", a.Name, b.Name), Ratio(a, b), most)
}

// AtMost prints a value that should be small. It is no test: the machine may be a slow one, or busy.
func AtMost(what string, value, aim float64) {
	fmt.Printf("%s: %s   (aim: at most %s, %s)\n", what, number(value), number(aim), met(value <= aim))
}

// AtLeast prints a value that should be large.
func AtLeast(what string, value, aim float64) {
	fmt.Printf("%s: %s   (aim: at least %s, %s)\n", what, number(value), number(aim), met(value >= aim))
}

func met(yes bool) string {
	if yes {
		return "met"
	}
	return "missed"
}

// number writes a value well below one as a fraction too: that is how people say such a ratio.
func number(v float64) string {
	if v > 0 && v < 0.7 {
		return fmt.Sprintf("%.4f = 1/%.1f", v, 1/v)
	}
	return fmt.Sprintf("%.3g", v)
}
