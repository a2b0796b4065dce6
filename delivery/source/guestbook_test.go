package source

import (
	"testing"

	"naru/naru"
)

// TestGuestbook reads the example that the README shows.
func TestGuestbook(t *testing.T) {
	app, err := Load(t.Context(), "../../examples/guestbook", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"./cmd/entries", "./cmd/web"} {
		if s := app.Services[i]; s.Build == nil || s.Build.Kind != naru.BuildGo || s.Build.GoPackage != want || s.Port != 8080 {
			t.Errorf("service %+v, want a Go build of %s", s, want)
		}
	}
	if routes := app.Services[1].Routes; len(routes) != 1 || routes[0] != (naru.RouteSpec{Path: "/"}) {
		t.Errorf("routes of web: %v", routes)
	}
}
