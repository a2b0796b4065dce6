package source

import (
	"strings"

	"github.com/compose-spec/compose-go/v2/template"
	"go.yaml.in/yaml/v4"
)

// checker holds one file against the rules and collects what is wrong with it.
type checker struct {
	doc    document
	lookup template.Mapping // the variables of interpolation
	ps     *problems
}

// check looks at every key and every variable of the file.
func (c *checker) check() {
	c.mapping(c.doc.root, fileRule(), maxDepth)
	c.variables(c.doc.root, maxDepth)
}

// node holds a value against the rule for its place. What is neither mapping nor list, compose-go's own schema judges.
func (c *checker) node(n *yaml.Node, r rule, depth int) {
	if n = resolve(n); depth == 0 || r.open {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		c.mapping(n, r, depth-1)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			c.node(item, r, depth-1)
		}
	}
}

func (c *checker) mapping(n *yaml.Node, r rule, depth int) {
	c.duplicates(n)
	for key, value := range entries(n) {
		switch known, ok := r.keys[key.Value]; {
		case r.each != nil:
			c.node(value, *r.each, depth)
		case ok:
			c.node(value, known, depth)
		default:
			c.unknown(key, value, r)
		}
	}
}

// unknown judges a key that naru does not honour: it is one of Compose's, an extension of somebody else's, or a slip.
func (c *checker) unknown(key, value *yaml.Node, r rule) {
	instead, refused := r.refused[key.Value]
	switch {
	case refused && saysNothing(value):
	case refused:
		c.ps.unsupported(c.doc.at(key), "naru does not support Compose's %q: %s", key.Value, instead)
	case strings.HasPrefix(key.Value, "x-") && !c.misspeltExtension(key.Value, r):
	default:
		c.ps.invalid(c.doc.at(key), "unknown key %q%s", key.Value, suggest(key.Value, r.known()))
	}
}

// misspeltExtension reports whether an extension key is x-naru with a slip in it, where x-naru may stand. Other
// extensions are other programs' business.
func (c *checker) misspeltExtension(key string, r rule) bool {
	_, ok := r.keys[extensionKey]
	return ok && editDistance(key, extensionKey) <= 2
}

// known are all the keys that a misspelt one could have meant.
func (r rule) known() map[string]bool {
	known := make(map[string]bool, len(r.keys)+len(r.refused))
	for key := range r.keys {
		known[key] = true
	}
	for key := range r.refused {
		known[key] = true
	}
	return known
}

// saysNothing reports whether a value asks for nothing beyond the default: `privileged: false`, `labels: []`.
func saysNothing(n *yaml.Node) bool {
	n = resolve(n)
	if n.Kind != yaml.ScalarNode {
		return len(n.Content) == 0
	}
	return n.Value == "" || n.Tag == "!!null" || n.Tag == "!!bool" && n.Value == "false"
}

// duplicates finds keys that a mapping says twice, of which YAML readers keep one or the other.
func (c *checker) duplicates(n *yaml.Node) {
	first := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if was, ok := first[key.Value]; ok && !isMerge(key) {
			c.ps.invalid(c.doc.at(key), "key %q stands twice, the first time in line %d", key.Value, was.Line)
		}
		first[key.Value] = key
	}
}

// variables tries every ${VARIABLE} of the file. Compose puts an empty string, and a warning, where a variable is not
// set; here it is an error, since an empty password or path in production is nobody's wish.
func (c *checker) variables(n *yaml.Node, depth int) {
	if depth == 0 {
		return
	}
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "$") {
		if err := substitutes(n.Value, c.lookup); err != nil {
			c.ps.invalid(c.doc.at(n), "%s", err)
		}
	}
	for i, item := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 { // keys are not interpolated
			c.variables(item, depth-1)
		}
	}
}
