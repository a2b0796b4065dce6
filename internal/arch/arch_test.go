package arch

import (
	"go/ast"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func tree(t *testing.T) []source {
	t.Helper()
	sources, err := readTree(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) == 0 {
		t.Fatal("read no Go files: is this the tree?")
	}
	return sources
}

func TestEveryFolderHasARule(t *testing.T) {
	told := map[string]bool{}
	for _, s := range tree(t) {
		if _, found := roomOf(s.dir); !found && !told[s.dir] {
			told[s.dir] = true
			t.Errorf("folder %s has no rule: add a row to rooms in internal/arch/rules.go that says whom it may import, and why", s.dir)
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range tree(t) {
		from, found := roomOf(s.dir)
		if !found {
			continue // the test above says so
		}
		for _, p := range s.imports() {
			dir, ours := folderOf(p)
			if ours && !allowed(from, dir, s.test) {
				t.Errorf("%s imports %s: %s may not, because %s", s.name, p, from.path, from.why)
			}
		}
	}
}

// allowed reports whether files in the room from may import folder dir. Tests may also use the test kits, and package
// target's tests its in-memory implementation and its suite.
func allowed(from room, dir string, test bool) bool {
	to, found := roomOf(dir)
	if !found {
		return false
	}
	if to.path == from.path || slices.ContainsFunc(from.may, to.matches) {
		return true
	}
	if test && (to.path == "internal/testkit" || opensEngines(from, to) || to.path == "naru" || to.path == "store" || inTarget(from, to)) {
		return true
	}
	return !slices.Contains(loners, from.path) && slices.Contains(everybody, to.path)
}

// opensEngines: tests of the engine and of the machine open real engines.
func opensEngines(from, to room) bool {
	return to.path == "internal/enginetest" && (from.path == "engine" || from.path == "target/machine")
}

// inTarget: tests above and inside target use its suite and its in-memory implementation.
func inTarget(from, to room) bool {
	if to.path != "target/memory" && to.path != "target/suite" {
		return false
	}
	return under(from.path, "target") || under(from.path, "delivery") || from.path == "api"
}

func TestLibrariesStayWhereTheyAre(t *testing.T) {
	for _, s := range tree(t) {
		from, _ := roomOf(s.dir)
		for _, p := range s.imports() {
			for _, lib := range libraries {
				if under(p, lib.prefix) && !slices.Contains(lib.rooms, from.path) {
					t.Errorf("%s imports %s: only %s may, because %s", s.name, p, strings.Join(lib.rooms, ", "), lib.why)
				}
			}
		}
	}
}

func TestTheWordsImportOnlyTheStandardLibrary(t *testing.T) {
	for _, s := range tree(t) {
		if s.dir != "naru" {
			continue
		}
		for _, p := range s.imports() {
			if !standard(p) {
				t.Errorf("%s imports %s: package naru imports only the standard library", s.name, p)
			}
		}
	}
}

// standard reports whether p is of the standard library: its first element has no dot, and it is not ours.
func standard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".") && first != module
}

func TestTheTinyBinaryStaysTiny(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "naru/cmd/naru-keeper").CombinedOutput()
	if err != nil {
		t.Fatalf("list what cmd/naru-keeper links: %v\n%s", err, out)
	}
	keeper, _ := roomOf("cmd/naru-keeper")
	for p := range strings.Lines(string(out)) {
		p = strings.TrimSpace(p)
		if slices.Contains(keeperForbids, p) {
			t.Errorf("cmd/naru-keeper links %s: it must not, because %s", p, keeper.why)
		}
		if dir, ours := folderOf(p); ours && !allowed(keeper, dir, false) {
			t.Errorf("cmd/naru-keeper links %s: it may not, because %s", p, keeper.why)
		}
		if !standard(p) && !under(p, module) && !under(p, "golang.org/x/sys") {
			t.Errorf("cmd/naru-keeper links %s: of other modules only golang.org/x/sys, because %s", p, keeper.why)
		}
	}
}

func TestNothingRunsBeforeMain(t *testing.T) {
	for _, s := range tree(t) {
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init: what a package needs it is given by its caller", s.place(f))
			}
		}
	}
}

// TestCommandsBeginAtOnce: what the command line links begins at each command, whichever verb it has; a pattern takes 40 µs.
func TestCommandsBeginAtOnce(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-e", "-tags", "front", "-deps", "naru/cmd/naru").CombinedOutput()
	if err != nil {
		t.Fatalf("list what the command line links: %v\n%s", err, out)
	}
	linked := strings.Fields(string(out))
	for _, s := range tree(t) {
		if s.test || !slices.Contains(linked, path.Join(module, s.dir)) {
			continue
		}
		for _, decl := range s.file.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && compiles(d) {
				t.Errorf("%s: a pattern of the package's: compile it where it is used, or with sync.OnceValue", s.place(d))
			}
		}
	}
}

// compiles reports whether a declaration has a regular expression that is compiled when the program begins.
func compiles(d *ast.GenDecl) (found bool) {
	ast.Inspect(d, func(node ast.Node) bool {
		if call, ok := node.(*ast.SelectorExpr); ok && call.Sel.Name == "MustCompile" {
			found = true
		}
		_, later := node.(*ast.FuncLit)
		return !later
	})
	return found
}

// TestContextsComeFromAbove: below cmd a context is handed down, so that whoever cancels reaches everything.
func TestContextsComeFromAbove(t *testing.T) {
	for _, s := range tree(t) {
		if s.test || !ruledByContexts(s.dir) {
			continue
		}
		ast.Inspect(s.file, func(node ast.Node) bool {
			if call, ok := node.(*ast.SelectorExpr); ok && isBackground(call) {
				t.Errorf("%s: context.%s: take a context from the caller", s.place(call), call.Sel.Name)
			}
			return true
		})
	}
}

func ruledByContexts(dir string) bool {
	for _, top := range []string{"cmd", "bench", "examples", "internal/testkit"} {
		if under(dir, top) {
			return false
		}
	}
	return true
}

func isBackground(call *ast.SelectorExpr) bool {
	pkg, ok := call.X.(*ast.Ident)
	return ok && pkg.Name == "context" && (call.Sel.Name == "Background" || call.Sel.Name == "TODO")
}

// TestTheRulesAreSound checks the table itself: rows that name no room, or a room twice, would rule nothing.
func TestTheRulesAreSound(t *testing.T) {
	known := map[string]bool{}
	for _, r := range rooms {
		if known[r.path] {
			t.Errorf("room %s has two rows", r.path)
		}
		known[r.path] = true
		if r.why == "" {
			t.Errorf("room %s gives no reason", r.path)
		}
	}
	for _, r := range rooms {
		for _, to := range r.may {
			if !known[strings.TrimSuffix(to, "/*")] && to != "edge" && to != "edge/*" {
				t.Errorf("room %s may import %s, which is no room", r.path, to)
			}
		}
	}
	for _, p := range slices.Concat(everybody, loners) {
		if !known[p] {
			t.Errorf("%s is no room", p)
		}
	}
}

func TestAllowed(t *testing.T) {
	tests := []struct {
		from, to string
		test     bool
		want     bool
	}{
		{"cmd/naru", "engine/image", false, true},
		{"delivery/rollout", "target", false, true},
		{"delivery/rollout", "delivery/release", false, false},
		{"delivery/rollout", "engine", false, false},
		{"delivery/rollout", "target/memory", true, true},
		{"delivery/rollout", "target/memory", false, false},
		{"delivery/builder", "engine/image", false, true},
		{"engine", "engine/network", false, true},
		{"engine/network", "engine", false, false},
		{"engine/network", "engine/image", false, false},
		{"engine/keeper/embedded", "engine/keeper", false, true},
		{"engine/keeper", "engine/sandbox", false, false},
		{"engine/keeper", "engine/sandbox/fork", false, true},
		{"edge/router", "naru", false, true},
		{"edge/router", "store", false, false},
		{"target", "engine", false, false},
		{"store", "naru", false, false},
		{"nowhere", "naru", false, false},
	}
	for _, test := range tests {
		from, _ := roomOf(test.from)
		if got := allowed(from, test.to, test.test) && from.path != ""; got != test.want {
			t.Errorf("%s importing %s (test %t) is allowed: %t, want %t", test.from, test.to, test.test, got, test.want)
		}
	}
}
