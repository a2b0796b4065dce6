package source

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"naru/naru"
)

// document is one YAML file of the app as it was written. compose-go reads the same bytes for their meaning; this tree
// is kept for what compose-go forgets: where things stand, and which keys nobody knows.
type document struct {
	file    string // relative to the app folder
	content []byte
	root    *yaml.Node // the mapping at the top
}

// parseDocument reads a file's bytes. The error of broken YAML names the place.
func parseDocument(file string, content []byte) (document, error) {
	var node, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	err := decoder.Decode(&node)
	switch {
	case errors.Is(err, io.EOF):
		return document{}, naru.Errorf(naru.InvalidArgument, "%s:1:1: the file is empty: it needs services", file)
	case err != nil:
		return document{}, brokenYAML(file, err)
	}
	if err := decoder.Decode(&second); err == nil {
		return document{}, naru.Errorf(naru.Unimplemented, "%s:%d:1: a second YAML document: keep one in each file", file, second.Line)
	} else if !errors.Is(err, io.EOF) {
		return document{}, brokenYAML(file, err)
	}
	d := document{file: file, content: content, root: resolve(node.Content[0])}
	if d.root.Kind != yaml.MappingNode {
		return document{}, naru.Errorf(naru.InvalidArgument, "%s: the top of the file must be a mapping with services", d.at(d.root))
	}
	if n := runaway(node.Content[0]); n != nil {
		return document{}, naru.Errorf(naru.InvalidArgument, "%s: an alias stands inside its own anchor, or aliases multiply beyond %d values", d.at(n), maxNodes)
	}
	return d, nil
}

// maxNodes bounds what a file may grow to when every alias is written out: a few lines of aliases of aliases could
// otherwise keep every reader after this one busy for hours.
const maxNodes = 50_000

// runaway returns the node at which a file written out grows past maxNodes, or an alias that holds itself; else nil.
func runaway(n *yaml.Node) *yaml.Node {
	budget := maxNodes
	open := make(map[*yaml.Node]bool)
	var walk func(n *yaml.Node) *yaml.Node
	walk = func(n *yaml.Node) *yaml.Node {
		at := n
		if n = resolve(n); open[n] || budget == 0 {
			return at
		}
		budget--
		open[n] = true
		defer delete(open, n)
		for _, item := range n.Content {
			if bad := walk(item); bad != nil {
				return bad
			}
		}
		return nil
	}
	return walk(n)
}

// yamlMessage takes the YAML library's messages apart: what was being read and
// where it begins, where it went wrong when that is elsewhere, and what is wrong.
var yamlMessage = regexp.MustCompile(`^yaml: (?:(while .*?) at (?:line (\d+)(?:, column (\d+))?|<unknown position>): )?(?:line (\d+)(?:, column (\d+))?: |<unknown position>: )?(.*)$`)

// brokenYAML moves the place out of the YAML library's message to the front. The library counts lines from 1 in the
// errors of its scanner, but from 0 in those of its parser.
func brokenYAML(file string, err error) error {
	at := place{file, 1, 1}
	found := yamlMessage.FindStringSubmatch(err.Error())
	if found == nil {
		return naru.Errorf(naru.InvalidArgument, "%s: not YAML: %w", at, err)
	}
	line, _ := strconv.Atoi(cmp.Or(found[4], found[2])) // 0 when the message has none
	column, _ := strconv.Atoi(cmp.Or(found[5], found[3]))
	if strings.HasSuffix(fmt.Sprintf("%T", err), ".ParserError") {
		line++
	}
	at.line, at.column = max(line, 1), max(column, 1)
	text := strings.TrimSpace(found[6] + " " + found[1])
	return naru.Errorf(naru.InvalidArgument, "%s: not YAML: %s", at, text)
}

// withoutVersion is the content with a top-level "version: …" line made a comment. The key has no meaning any more, but
// it stands in many files, and compose-go writes a warning about it to the process's standard error.
func (d document) withoutVersion() []byte {
	key, value := child(d.root, "version")
	if key == nil || key.Column != 1 || value.Kind != yaml.ScalarNode || value.Line != key.Line {
		return d.content
	}
	lines := bytes.SplitAfter(bytes.Clone(d.content), []byte("\n"))
	line := lines[key.Line-1]
	if bytes.HasPrefix(line, []byte("version")) && bytes.Contains(line, []byte(value.Value)) { // all of it on this line
		line[0] = '#'
	}
	return bytes.Join(lines, nil)
}

func (d document) at(n *yaml.Node) place { return place{d.file, n.Line, n.Column} }

// find follows path from the top and returns the deepest place it reaches, with the number of steps taken. The place
// of a mapping's value is that of its key.
func (d document) find(path []string) (place, int) {
	at, node := place{d.file, 1, 1}, d.root
	for i, step := range path {
		key, value := child(node, step)
		if value == nil {
			return at, i
		}
		at, node = d.at(key), value
	}
	return at, len(path)
}

// child is the entry of a mapping, or the item of a sequence, that step names. An entry's place is its key.
func child(node *yaml.Node, step string) (key, value *yaml.Node) {
	node = resolve(node)
	if node.Kind == yaml.SequenceNode {
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	}
	for key, value := range entries(node) {
		if key.Value == step {
			return key, value
		}
	}
	return nil, nil
}

// documents are the files of an app in the order in which each is laid over the ones before.
type documents []document

// at is the place of a path: in the last file that has all of it, else where the longest part of it stands.
func (ds documents) at(path ...string) place {
	best, depth := place{ds[0].file, 1, 1}, 0
	for i := range ds {
		at, steps := ds[len(ds)-1-i].find(path)
		if steps == len(path) {
			return at
		}
		if steps > depth {
			best, depth = at, steps
		}
	}
	return best
}

// has reports whether some file says something at the path.
func (ds documents) has(path ...string) bool {
	for _, d := range ds {
		if _, steps := d.find(path); steps == len(path) {
			return true
		}
	}
	return false
}

// maxDepth bounds the walk through a file, in which an alias may stand inside its own anchor.
const maxDepth = 64

// resolve follows aliases to the node they stand for.
func resolve(n *yaml.Node) *yaml.Node {
	for i := 0; n.Kind == yaml.AliasNode && n.Alias != nil && i < maxDepth; i++ {
		n = n.Alias
	}
	return n
}

// entries yields the keys and values of a mapping, those merged into it by "<<" last, as a plain key wins over a
// merged one. It yields nothing for another kind of node.
func entries(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) { yieldEntries(n, maxDepth, yield) }
}

func yieldEntries(n *yaml.Node, depth int, yield func(key, value *yaml.Node) bool) bool {
	n = resolve(n)
	if n.Kind != yaml.MappingNode || depth == 0 {
		return true
	}
	var merged []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if isMerge(key) {
			merged = append(merged, mergedMappings(value)...)
		} else if !yield(key, value) {
			return false
		}
	}
	for _, m := range merged {
		if !yieldEntries(m, depth-1, yield) {
			return false
		}
	}
	return true
}

func isMerge(key *yaml.Node) bool { return key.Value == "<<" && key.Style == 0 }

// mergedMappings are the mappings that the value of a "<<" key names: one, or a sequence of them.
func mergedMappings(value *yaml.Node) []*yaml.Node {
	if value = resolve(value); value.Kind == yaml.SequenceNode {
		return value.Content
	}
	return []*yaml.Node{value}
}
