package delivery

import "naru/naru"

// validate refuses what no hop could carry out, before any of them begins.
func (up Up) validate() error {
	if err := up.AppEnv.Validate(); err != nil {
		return err
	}
	if up.Spec.App != up.App {
		return naru.Errorf(naru.InvalidArgument, "the spec is of app %q, the request is about app %q", up.Spec.App, up.App)
	}
	if len(up.Spec.Services) == 0 {
		return naru.Errorf(naru.InvalidArgument, "app %s has no services: name one in its compose.yaml", up.App)
	}
	seen := map[naru.ServiceName]bool{}
	for _, s := range up.Spec.Services {
		if seen[s.Name] {
			return naru.Errorf(naru.InvalidArgument, "service %s is there twice", s.Name)
		}
		seen[s.Name] = true
		if err := up.validateService(s); err != nil {
			return err
		}
	}
	return nil
}

func (up Up) validateService(s naru.ServiceSpec) error {
	if err := s.Name.Validate(); err != nil {
		return err
	}
	switch {
	case (s.Image == "") == (s.Build == nil):
		return naru.Errorf(naru.InvalidArgument, "service %s: say either image or build", s.Name)
	case s.Build != nil && up.Session == "":
		return naru.Errorf(naru.InvalidArgument, "service %s is to be built, but the request names no session that serves its folder", s.Name)
	case s.Scale < 0:
		return naru.Errorf(naru.InvalidArgument, "service %s: scale %d is negative", s.Name, s.Scale)
	}
	return nil
}
