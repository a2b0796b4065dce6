package release

import (
	"slices"
	"strings"

	"naru/naru"
)

// validate checks what the hops after this one rely on, whoever made the services.
func validate(ae naru.AppEnv, services []naru.ReleasedService) error {
	if err := ae.Validate(); err != nil {
		return err
	}
	if len(services) == 0 {
		return naru.Errorf(naru.InvalidArgument, "it has no service")
	}
	byName := map[naru.ServiceName]naru.ReleasedService{}
	for _, s := range services {
		if _, twice := byName[s.Name]; twice {
			return naru.Errorf(naru.InvalidArgument, "service %s is there twice", s.Name)
		}
		if err := validateService(s); err != nil {
			return err
		}
		byName[s.Name] = s
	}
	return validateOrder(byName)
}

func validateService(s naru.ReleasedService) error {
	if err := s.Name.Validate(); err != nil {
		return err
	}
	if s.ImageDigest == "" {
		return naru.Errorf(naru.InvalidArgument, "service %s has no image", s.Name)
	}
	if s.Scale < 0 || s.Scale > maxInstances {
		return naru.Errorf(naru.InvalidArgument, "service %s has a scale of %d: use 0 to %d", s.Name, s.Scale, maxInstances)
	}
	return validateSteps(s)
}

func validateSteps(s naru.ReleasedService) error {
	for i, step := range s.Rollout.Steps {
		if step.Weight < 1 || step.Weight > 99 {
			return naru.Errorf(naru.InvalidArgument, "service %s: rollout step %d has a weight of %d: use 1 to 99", s.Name, i+1, step.Weight)
		}
		if step.Pause < 0 {
			return naru.Errorf(naru.InvalidArgument, "service %s: rollout step %d has a pause of %s: use 0s or more", s.Name, i+1, step.Pause)
		}
	}
	return nil
}

// validateOrder refuses a dependency on a service that is not there, and a circle.
func validateOrder(services map[naru.ServiceName]naru.ReleasedService) error {
	done := map[naru.ServiceName]bool{}
	var visit func(name naru.ServiceName, path []string) error
	visit = func(name naru.ServiceName, path []string) error {
		s, ok := services[name]
		switch {
		case !ok:
			return naru.Errorf(naru.InvalidArgument, "service %s depends on %s, which is not there", path[len(path)-1], name)
		case slices.Contains(path, string(name)):
			return naru.Errorf(naru.InvalidArgument, "services depend on each other in a circle: %s", strings.Join(append(path, string(name)), " → "))
		case done[name]:
			return nil
		}
		for _, d := range s.DependsOn {
			if err := visit(d, append(path, string(name))); err != nil {
				return err
			}
		}
		done[name] = true
		return nil
	}
	for name := range services {
		if err := visit(name, nil); err != nil {
			return err
		}
	}
	return nil
}
