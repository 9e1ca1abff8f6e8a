package agent

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	tests := []struct{ reason, in, want string }{
		{"nothing secret", "nginx|-g|daemon off;", "nginx -g 'daemon off;'"},
		{"--name=value", "app|--password=hunter2|--port=80", "app --password=[redacted] --port=80"},
		{"--name value", "app|--token|hunter2|-v", "app --token [redacted] -v"},
		{"an option without a value hides no option", "app|--password|--verbose", "app --password --verbose"},
		{"an environment variable", "env|DB_PASSWORD=hunter2|app", "env DB_PASSWORD=[redacted] app"},
		{"a compound name", "app|--db.api-key=hunter2", "app --db.api-key=[redacted]"},
		{"the password of a URL", "app|postgres://app:hunter2@db/x", "app postgres://app:[redacted]@db/x"},
		{"a header", "curl|-H|Authorization: Basic aHVudGVyMg==", "curl -H 'Authorization: [redacted]'"},
		{"an AWS access key", "app|AKIAIOSFODNN7EXAMPLE", "app [redacted]"},
		{"a JSON Web Token", "app|eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "app [redacted]"},
		{"a path that contains a secret word", "app|/etc/token/file", "app /etc/token/file"},
		{"an empty argument", "app|", "app ''"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			if got := redact(strings.Split(tt.in, "|")); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("app", "--password", "hunter2")
	f.Add("app", "postgres://app:hunter2@db/x", "")
	f.Fuzz(func(t *testing.T, a, b, secret string) {
		if len(secret) < 8 || strings.HasPrefix(secret, "-") || strings.Contains(a+b, secret) || strings.Contains(redacted, secret) {
			return
		}
		if got := redact([]string{"x", a, b, "--password=" + secret}); strings.Contains(got, "--password="+secret) {
			t.Errorf("the secret is in %q", got)
		}
	})
}
