package audit

import "strings"

// sddl is the security descriptor, in the language of Windows for them, of a
// file or directory of the log: full access for SYSTEM (SY) and Administrators
// (BA), protected (P), so that nothing is inherited from above. user is who runs
// this program and is neither, "" if there is nobody of this kind: they could not
// use what they made. What lies in a directory inherits this (OI, CI).
// https://learn.microsoft.com/en-us/windows/win32/secauthz/ace-strings
func sddl(directory bool, user string) string {
	inherit := ""
	if directory {
		inherit = "OICI"
	}
	var b strings.Builder
	b.WriteString("D:P")
	for _, who := range []string{"SY", "BA", user} {
		if who != "" {
			b.WriteString("(A;" + inherit + ";FA;;;" + who + ")")
		}
	}
	return b.String()
}
