package source

import (
	"bufio"
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"naru/naru"
)

const (
	procfileName   = "Procfile"
	dockerfileName = "Dockerfile"
	goModName      = "go.mod"
)

// infer describes a folder without a Compose file: a Procfile names its services, and its Dockerfile or Go module
// makes their image; without a Procfile the image is one service, web.
func infer(f *folder, opts Options) (naru.AppSpec, error) {
	name, err := appName(f, opts)
	if err != nil {
		return naru.AppSpec{}, err
	}
	app := naru.AppSpec{App: name}
	switch {
	case !f.isFile(dockerfileName) && !f.isFile(goModName):
		return app, naru.Errorf(naru.InvalidArgument, "no app here: a folder needs a compose.yaml, a Dockerfile, or a go.mod (with a Procfile, if it has several processes)")
	case f.leadsOut(dockerfileName) || f.leadsOut(goModName):
		return app, naru.Errorf(naru.InvalidArgument, "the Dockerfile or go.mod is a link out of the app folder")
	case f.isFile(procfileName):
		app.Services, err = inferProcesses(f)
	default:
		app.Services, err = inferWeb(f)
	}
	if err != nil {
		return naru.AppSpec{}, err
	}
	return app, checkSpec(app)
}

func inferWeb(f *folder) ([]naru.ServiceSpec, error) {
	web := naru.ServiceSpec{Name: webService, Scale: 1}
	if f.isFile(dockerfileName) {
		web.Build = &naru.BuildSpec{Kind: naru.BuildDockerfile, Context: ".", Dockerfile: dockerfileName}
	} else {
		pkg, err := goPackage(f, ".", "", string(webService))
		if err != nil {
			return nil, err
		}
		web.Build = &naru.BuildSpec{Kind: naru.BuildGo, Context: ".", GoPackage: pkg}
	}
	return []naru.ServiceSpec{web}, routeWeb(f, &web)
}

// routeWeb leads the app's requests to web, at the port that its Dockerfile exposes or the conventional one.
func routeWeb(f *folder, web *naru.ServiceSpec) error {
	web.Routes = []naru.RouteSpec{{Path: "/"}}
	web.Port = webPort
	if web.Build.Kind != naru.BuildDockerfile {
		return nil
	}
	content, err := f.read(dockerfileName)
	if err != nil {
		return err
	}
	if port, ok := exposedPort(content); ok {
		web.Port = port
	}
	return nil
}

var exposeLine = regexp.MustCompile(`(?i)^\s*(?:EXPOSE\s+(\S+)|(FROM)\s)`)

// exposedPort is the first port that the last stage of a Dockerfile exposes. One that is a variable is 0: the built
// image will tell.
func exposedPort(dockerfile []byte) (port uint16, ok bool) {
	lines := bufio.NewScanner(bytes.NewReader(dockerfile))
	lines.Buffer(nil, maxFile)
	for lines.Scan() {
		found := exposeLine.FindStringSubmatch(lines.Text())
		switch {
		case found == nil:
		case found[2] != "": // a new stage begins
			port, ok = 0, false
		case !ok:
			number, _, _ := strings.Cut(found[1], "/")
			n, err := strconv.ParseUint(number, 10, 16)
			if err != nil {
				n = 0
			}
			port, ok = uint16(n), true
		}
	}
	return port, ok
}

// inferProcesses makes a service of each line of the Procfile.
func inferProcesses(f *folder) ([]naru.ServiceSpec, error) {
	content, err := f.read(procfileName)
	if err != nil {
		return nil, err
	}
	processes, err := parseProcfile(content)
	if err != nil {
		return nil, err
	}
	var services []naru.ServiceSpec
	for _, p := range processes {
		s, err := inferProcess(f, p)
		if err != nil {
			return nil, err
		}
		services = append(services, s)
	}
	slices.SortFunc(services, func(a, b naru.ServiceSpec) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return services, nil
}

func inferProcess(f *folder, p process) (naru.ServiceSpec, error) {
	s := naru.ServiceSpec{Name: p.name, Scale: 1}
	var err error
	if f.isFile(dockerfileName) {
		s.Build = &naru.BuildSpec{Kind: naru.BuildDockerfile, Context: ".", Dockerfile: dockerfileName}
		s.Command, err = p.inShell()
	} else {
		s.Build, s.Command, err = p.goBuild(f)
	}
	if err == nil && s.Name == webService {
		err = routeWeb(f, &s)
	}
	return s, err
}
