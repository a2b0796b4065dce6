package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"naru/naru"
	"naru/target"
	"naru/target/memory"
	"naru/target/suite"
)

func TestKeepsTheContract(t *testing.T) {
	suite.Run(t, func(tb testing.TB) suite.Harness {
		m := memory.New(memory.Options{Behave: behave})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		tb.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				tb.Error(err)
			}
		})
		return suite.Harness{
			Target: m,
			Service: func(name naru.ServiceName, k suite.Kind) naru.ReleasedService {
				return naru.ReleasedService{ServiceSpec: naru.ServiceSpec{Name: name, Command: []string{string(k)}}}
			},
			Kill:  func(_ testing.TB, i naru.Instance) { m.Kill(i.AppEnv, i.ID) },
			Crash: func(testing.TB) target.Target { return m },
		}
	})
}

// behave reads the kind from the command that the harness gives.
func behave(s target.Set) memory.Behaviour {
	switch suite.Kind(s.Service.Command[0]) {
	case suite.Healthy:
		return memory.Behaviour{Ready: true}
	case suite.Failing:
		return memory.Behaviour{Failure: "exits with status 1", LogLines: []string{suite.FailingLine}}
	default:
		return memory.Behaviour{}
	}
}

func TestFaults(t *testing.T) {
	lost, late := errors.New("lost"), errors.New("late")
	var next memory.Fault
	m := memory.New(memory.Options{Fault: func(memory.Call) memory.Fault {
		defer func() { next = memory.Fault{} }()
		return next
	}})
	ae := naru.AppEnv{App: "a", Environment: naru.Production}
	for _, c := range []struct {
		fault memory.Fault
		err   error
		sets  int
	}{{memory.Fault{Lost: lost}, lost, 0}, {memory.Fault{Late: late}, late, 1}} {
		next = c.fault
		err := m.Apply(t.Context(), target.Set{AppEnv: ae, Key: "web-1", Instances: 1})
		o, oerr := m.Observe(t.Context(), ae)
		if !errors.Is(err, c.err) || oerr != nil || len(o.Sets) != c.sets {
			t.Errorf("%v: error %v, %d sets, observe %v", c.fault, err, len(o.Sets), oerr)
		}
	}
}

func TestVariablesDoNotPrint(t *testing.T) {
	s := target.Set{Key: "web-1", Variables: target.Variables{"TOKEN": "hunter2"}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		out := fmt.Sprintf(verb, s) + fmt.Sprintf(verb, s.Variables)
		if strings.Contains(out, "hunter2") || !strings.Contains(out, "TOKEN") {
			t.Errorf("%s prints %s", verb, out)
		}
	}
}
