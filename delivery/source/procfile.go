package source

import (
	"regexp"
	"strings"

	"naru/naru"
)

// process is a line of a Procfile.
type process struct {
	name    naru.ServiceName
	command string
	at      place // of the command
}

var procfileLine = regexp.MustCompile(`^([A-Za-z0-9_-]+)[ \t]*:[ \t]*(.*)$`)

// parseProcfile reads lines of the form "name: command". Empty lines, and those that begin with #, mean nothing.
func parseProcfile(content []byte) ([]process, error) {
	ps := &problems{}
	var processes []process
	first := make(map[naru.ServiceName]int)
	for i, line := range strings.Split(string(content), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		p, ok := parseProcess(line, place{procfileName, i + 1, 1}, ps)
		if was := first[p.name]; ok && was > 0 {
			ps.invalid(place{procfileName, i + 1, 1}, "process %q stands twice, the first time in line %d", p.name, was)
		} else if ok {
			first[p.name] = i + 1
			processes = append(processes, p)
		}
	}
	if len(processes) == 0 {
		ps.invalid(place{procfileName, 1, 1}, "no processes: write lines like \"web: program --flag\"")
	}
	if err := ps.err(); err != nil {
		return nil, err
	}
	return processes, nil
}

func parseProcess(line string, at place, ps *problems) (process, bool) {
	found := procfileLine.FindStringSubmatchIndex(line)
	if found == nil {
		ps.invalid(at, "not a process: write \"name: command\"")
		return process{}, false
	}
	p := process{naru.ServiceName(line[found[2]:found[3]]), line[found[4]:], at}
	p.at.column = found[4] + 1
	switch err := p.name.Validate(); {
	case p.name == "release":
		ps.unsupported(at, "naru does not run a release process yet: run it by hand with `naru run SERVICE COMMAND` before `naru up`")
	case err != nil:
		ps.invalid(at, "%s", err)
	case p.command == "":
		ps.invalid(p.at, "process %q has no command", p.name)
	default:
		return p, true
	}
	return p, false
}

// inShell is the command for an image of the user's own: plain words run as they are; a line that needs a shell, to
// put in $PORT for example, gets the one that it counts on.
func (p process) inShell() ([]string, error) {
	words, err := splitWords(p.command)
	switch {
	case err != nil:
		return nil, naru.Errorf(naru.InvalidArgument, "%s: %w", p.at, err)
	case needsShell(p.command):
		return []string{"/bin/sh", "-c", p.command}, nil
	}
	return words, nil
}

// goBuild turns the command into a main package and its arguments, which follow the program that naru makes the
// image's entrypoint. Such an image holds nothing else: no shell either.
func (p process) goBuild(f *folder) (*naru.BuildSpec, []string, error) {
	words, err := splitWords(p.command)
	switch {
	case err != nil:
		return nil, nil, naru.Errorf(naru.InvalidArgument, "%s: %w", p.at, err)
	case needsShell(p.command):
		return nil, nil, naru.Errorf(naru.InvalidArgument, "%s: the command needs a shell, and the image of a Go build has none: read $PORT and the like in the program, or write a Dockerfile", p.at)
	}
	pkg, arguments, err := goCommand(f, words)
	if err != nil {
		return nil, nil, naru.Errorf(naru.InvalidArgument, "%s: %w", p.at, err)
	}
	return &naru.BuildSpec{Kind: naru.BuildGo, Context: ".", GoPackage: pkg}, arguments, nil
}

// goCommand reads "go run ./cmd/web arguments" and "bin/web arguments".
func goCommand(f *folder, words []string) (pkg string, arguments []string, err error) {
	if len(words) > 2 && words[0] == "go" && words[1] == "run" {
		pkg, err = askedPackage(f, ".", words[2])
		arguments = words[3:]
	} else {
		pkg, err = commandPackage(f, words[0])
		arguments = words[1:]
	}
	if len(arguments) == 0 {
		arguments = nil
	}
	return pkg, arguments, err
}
