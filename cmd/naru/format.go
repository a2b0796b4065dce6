package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"text/template"
	"unicode"

	"naru/naru"
)

// printTemplate prints each value as docker's --format has it: a Go template, one after the word table for a header and
// columns where it has tabs, or json for a value a line.
func printTemplate[T any](c *cli, format string, all []T) error {
	if format == "json" {
		format = "{{json .}}"
	}
	columns, isTable := strings.CutPrefix(format, "table ")
	columns = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(columns)
	t, err := template.New("--format").Funcs(templateFuncs()).Parse(columns)
	if err != nil {
		return naru.Errorf(naru.InvalidArgument, "%w", err)
	}
	var lines []string
	for _, v := range all {
		var line strings.Builder
		if err := t.Execute(&line, v); err != nil {
			return naru.Errorf(naru.InvalidArgument, "%w", err)
		}
		lines = append(lines, line.String())
	}
	if !isTable {
		return c.printLines(lines)
	}
	field := regexp.MustCompile(`\{\{\s*\.(\w+)[^}]*\}\}`)
	header := field.ReplaceAllStringFunc(columns, func(s string) string { return fieldWords(field.FindStringSubmatch(s)[1]) })
	return columnsTable(header, lines).write(c.out, c.colour(c.out))
}

// templateFuncs are those that docker's templates have.
func templateFuncs() template.FuncMap {
	return template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"join": strings.Join, "split": strings.Split, "lower": strings.ToLower, "upper": strings.ToUpper,
		"truncate": func(s string, n int) string { return string([]rune(s)[:min(max(n, 0), len([]rune(s)))]) },
	}
}

// fieldWords are a field's name as a header: RunningFor is RUNNING FOR.
func fieldWords(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && unicode.IsUpper(r) && !unicode.IsUpper(rune(name[i-1])) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

func columnsTable(header string, lines []string) *table {
	t := &table{header: strings.Split(header, "\t")}
	for _, line := range lines {
		row := make([]cell, len(t.header)) // a value may have a tab itself: what is beyond the header stays with the last
		for i, s := range strings.SplitN(line, "\t", len(row)) {
			row[i] = text(s)
		}
		t.row(row...)
	}
	return t
}
