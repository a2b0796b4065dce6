package rollout_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/delivery/rollout"
)

var update = flag.Bool("update", false, "rewrite the expected plans in testdata")

// TestPlan plays the stories in testdata/plan. A story is some releases and then moments; a moment is a line "--- " with
// its title, lines that say what is so (dsl_test.go reads them), "=>", and the plan.
func TestPlan(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { testStory(t, file) })
	}
}

func testStory(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(b), "\n--- ")
	out := parts[0]
	for _, moment := range parts[1:] {
		said, want, _ := strings.Cut(moment, "=>\n")
		title, facts, _ := strings.Cut(said, "\n")
		story := readStory(t, parts[0]+"\n"+facts)
		got := story.print(rollout.Plan(story.Situation))
		if strings.TrimSpace(got) != strings.TrimSpace(want) && !*update {
			t.Errorf("%s: plan:\n%swant:\n%s", title, got, want)
		}
		out += "\n--- " + strings.TrimRight(said, "\n") + "\n=>\n" + got
	}
	if *update {
		if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
