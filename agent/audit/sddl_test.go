package audit

import "testing"

func TestSDDL(t *testing.T) {
	tests := []struct {
		reason    string
		directory bool
		user      string
		want      string
	}{
		{"a file of the service", false, "", "D:P(A;;FA;;;SY)(A;;FA;;;BA)"},
		{"what lies in the directory inherits from it, and it from nothing", true, "", "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"},
		{"of a user who is no administrator", false, "S-1-5-21-1-2-3-1001", "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;S-1-5-21-1-2-3-1001)"},
	}
	for _, tt := range tests {
		if got := sddl(tt.directory, tt.user); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
		}
	}
}
