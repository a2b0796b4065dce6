package memory

import (
	"cmp"
	"slices"

	"naru/naru"
	"naru/target"
)

// set is a wished set and its instances, oldest first. Set.Instances is how many are wanted.
type set struct {
	target.Set
	removing  bool
	wasReady  bool
	behaviour Behaviour
	instances []naru.Instance
}

// step moves the set a notch: what was stopping is gone, what is too many stops, what lives moves on, what is missing
// starts.
func (s *set) step(newID func() naru.InstanceID) bool {
	before := slices.Clone(s.instances)
	s.instances = slices.DeleteFunc(s.instances, stopping)
	for i := range s.instances {
		s.instances[i] = s.next(i)
	}
	for len(s.instances) < s.Instances {
		s.instances = append(s.instances, naru.Instance{ID: newID(), AppEnv: s.AppEnv, Service: s.Service.Name,
			Set: s.Key, Release: s.Release, State: naru.InstanceStarting})
	}
	s.wasReady = s.wasReady || s.Instances > 0 && s.ready() >= s.Instances
	return !slices.Equal(before, s.instances)
}

func stopping(i naru.Instance) bool { return i.State == naru.InstanceStopping }

// next is what becomes of the i-th instance.
func (s *set) next(i int) naru.Instance {
	in := s.instances[i]
	switch {
	case i >= s.Instances:
		in.State = naru.InstanceStopping
	case s.behaviour.Ready:
		in.State, in.Reason = naru.InstanceReady, ""
	case s.behaviour.Failure != "":
		in.Restarts += s.died(in)
		in.State, in.Reason = naru.InstanceBackoff, s.behaviour.Failure
	case in.State == naru.InstanceReady:
		in.State = naru.InstanceUnready
	case in.State != naru.InstanceUnready:
		in.State = naru.InstanceRunning
	}
	return in
}

// died is 1 when the instance goes into backoff now.
func (s *set) died(in naru.Instance) int {
	if in.State == naru.InstanceBackoff {
		return 0
	}
	return 1
}

func (s *set) kill(id naru.InstanceID) {
	s.instances = slices.DeleteFunc(s.instances, func(i naru.Instance) bool { return i.ID == id })
}

func (s *set) ready() int {
	n := 0
	for _, i := range s.instances {
		if i.State == naru.InstanceReady {
			n++
		}
	}
	return n
}

func (s *set) status() target.SetStatus {
	st := target.SetStatus{Key: s.Key, Service: s.Service.Name, Release: s.Release, Wanted: s.Instances,
		Ready: s.ready(), Removing: s.removing, Instances: slices.Clone(s.instances)}
	slices.SortFunc(st.Instances, func(a, b naru.Instance) int { return cmp.Compare(a.ID, b.ID) })
	if !s.wasReady && len(s.instances) > 0 && !s.behaviour.Ready {
		st.Failure = s.behaviour.Failure
	}
	if !st.IsReady() && len(s.instances) > 0 {
		lines := s.behaviour.LogLines
		st.LogLines = slices.Clone(lines[max(0, len(lines)-target.LogTail):])
	}
	return st
}
