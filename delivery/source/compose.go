package source

import (
	"cmp"
	"context"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"

	"naru/naru"
)

// loadCompose reads the folder's Compose file in two passes over the same bytes: first as a tree of places, in which
// everything unknown, refused or misspelt is found and named; then, when nothing is, by compose-go for its meaning.
func loadCompose(ctx context.Context, f *folder, opts Options) (naru.AppSpec, error) {
	vars, err := variables(f, opts)
	if err != nil {
		return naru.AppSpec{}, err
	}
	docs, err := readDocuments(f)
	if err != nil {
		return naru.AppSpec{}, err
	}
	if err := checkDocuments(f, docs, vars.Resolve); err != nil {
		return naru.AppSpec{}, err
	}
	name, err := composeName(f, docs, opts, vars.Resolve)
	if err != nil {
		return naru.AppSpec{}, err
	}
	project, err := loadProject(ctx, f, docs, string(name), vars)
	if err != nil {
		return naru.AppSpec{}, err
	}
	return convert(f, docs, name, project)
}

// readDocuments reads the app file and the one laid over it, if there is one.
func readDocuments(f *folder) (documents, error) {
	var docs documents
	for _, name := range []string{f.first(composeNames), f.first(overrideNames)} {
		if name == "" {
			continue
		}
		doc, err := readDocument(f, name)
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

func readDocument(f *folder, name string) (document, error) {
	content, err := f.read(name)
	if err != nil {
		return document{}, err
	}
	return parseDocument(name, content)
}

// checkDocuments checks the files, and those that their services extend.
func checkDocuments(f *folder, docs documents, lookup template.Mapping) error {
	ps := &problems{}
	queue := slices.Clone(docs)
	seen := make(map[string]bool)
	for len(queue) > 0 {
		doc := queue[0]
		queue = queue[1:]
		if seen[doc.file] {
			continue
		}
		seen[doc.file] = true
		(&checker{doc, lookup, ps}).check()
		queue = append(queue, extended(f, doc, ps)...)
	}
	return ps.err()
}

// extended reads the files that services of doc extend. compose-go opens them by itself later; read here first, they
// are known to lie in the app folder.
func extended(f *folder, doc document, ps *problems) documents {
	var docs documents
	_, services := child(doc.root, "services")
	if services == nil {
		return nil
	}
	for _, service := range entries(services) {
		file := extendedFile(service)
		if file == nil {
			continue
		}
		base, err := readExtended(f, doc, file)
		if err != nil {
			ps.add(doc.at(file), naru.CodeOf(err), "extend from %s: %s", file.Value, err)
			continue
		}
		docs = append(docs, base)
	}
	return docs
}

func extendedFile(service *yaml.Node) *yaml.Node {
	_, extends := child(service, "extends")
	if extends == nil {
		return nil
	}
	_, file := child(extends, "file")
	return file
}

func readExtended(f *folder, doc document, file *yaml.Node) (document, error) {
	if strings.Contains(file.Value, "$") {
		return document{}, naru.Errorf(naru.Unimplemented, "naru does not put variables into the name of a file to extend: write the name out")
	}
	name := path.Join(path.Dir(doc.file), file.Value)
	if path.IsAbs(file.Value) {
		name = file.Value
	}
	rel, ok := f.relative(name)
	if !ok {
		return document{}, naru.Errorf(naru.InvalidArgument, "the file lies outside the app folder")
	}
	return readDocument(f, rel)
}

// composeName is the name asked for, or the file's, or the folder's.
func composeName(f *folder, docs documents, opts Options, lookup template.Mapping) (naru.AppName, error) {
	if opts.App != "" {
		return appName(f, opts)
	}
	for _, doc := range slices.Backward(docs) {
		_, node := child(doc.root, "name")
		if node == nil {
			continue
		}
		name, err := template.Substitute(resolve(node).Value, lookup)
		if err != nil {
			return "", naru.Errorf(naru.InvalidArgument, "%s: %w", doc.at(node), err)
		}
		if err := (naru.AppEnv{App: naru.AppName(name), Environment: naru.Production}).Validate(); err != nil {
			return "", naru.Errorf(naru.InvalidArgument, "%s: %w", doc.at(node), err)
		}
		return naru.AppName(name), nil
	}
	return appName(f, opts)
}

// loadProject has compose-go read the documents' bytes. Files named by env_file are checked before they are opened.
func loadProject(ctx context.Context, f *folder, docs documents, name string, vars types.Mapping) (*types.Project, error) {
	details := types.ConfigDetails{WorkingDir: f.path, Environment: maps.Clone(vars)}
	for _, doc := range docs {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: filepath.Join(f.path, doc.file), Content: doc.withoutVersion()})
	}
	project, err := loader.LoadWithContext(ctx, details, func(o *loader.Options) {
		o.SetProjectName(name, true)
		o.SkipInclude = true
		o.SkipResolveEnvironment = true
	})
	if err != nil {
		return nil, docs.locate(f, err)
	}
	if err := checkEnvFiles(f, docs, project); err != nil {
		return nil, err
	}
	resolved, err := project.WithServicesEnvironmentResolved(true)
	if err != nil {
		return nil, docs.locate(f, err)
	}
	return resolved, nil
}

func checkEnvFiles(f *folder, docs documents, project *types.Project) error {
	ps := &problems{}
	for name, service := range project.Services {
		for _, file := range service.EnvFiles {
			at := docs.at("services", name, "env_file")
			rel, ok := f.relative(file.Path)
			switch {
			case !ok:
				ps.invalid(at, "env_file %s lies outside the app folder", cmp.Or(rel, file.Path))
			case !f.isFile(rel) && bool(file.Required):
				ps.invalid(at, "env_file %s does not exist: write it, or say `required: false`", rel)
			}
		}
	}
	return ps.err()
}
