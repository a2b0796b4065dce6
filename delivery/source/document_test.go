package source

import "testing"

func TestWithoutVersion(t *testing.T) {
	for content, want := range map[string]string{
		"version: '3'\nservices: {}\n":                "#ersion: '3'\nservices: {}\n",
		"services: {}\nversion: 3.8":                  "services: {}\n#ersion: 3.8",
		"{version: '3', services: {}}":                "{version: '3', services: {}}",
		"version: \"3\n  8\"\nservices: {}\n":         "version: \"3\n  8\"\nservices: {}\n",
		"\"version\": '3'\nservices: {}\n":            "\"version\": '3'\nservices: {}\n",
		"services:\n  version:\n    image: version\n": "services:\n  version:\n    image: version\n",
	} {
		d, err := parseDocument("compose.yaml", []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(d.withoutVersion()); got != want {
			t.Errorf("%q became %q, want %q", content, got, want)
		}
	}
}
