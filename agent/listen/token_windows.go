package listen

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

// readToken reads whom the process runs as. What cannot be read stays unknown.
func (p *openedProcess) readToken(o *Owner, accounts map[string]string) {
	var token windows.Token
	if err := windows.OpenProcessToken(p.handle, windows.TOKEN_QUERY, &token); err != nil {
		return
	}
	defer token.Close()
	if user, err := token.GetTokenUser(); err == nil {
		o.SID = user.User.Sid.String()
		o.User = accountOf(user.User.Sid, o.SID, accounts)
	}
	var elevated uint32 // TOKEN_ELEVATION
	var n uint32
	err := windows.GetTokenInformation(token, windows.TokenElevation,
		(*byte)(unsafe.Pointer(&elevated)), uint32(unsafe.Sizeof(elevated)), &n)
	if err == nil {
		o.Elevated = answer(elevated != 0)
	}
	o.Integrity = integrityOfToken(token)
}

// accountOf returns DOMAIN\name of an account, "" if it has none. It is looked
// up once: that may ask a domain controller, which may be slow or far.
func accountOf(sid *windows.SID, text string, accounts map[string]string) string {
	account, known := accounts[text]
	if known {
		return account
	}
	if name, domain, _, err := sid.LookupAccount(""); err == nil {
		account = name
		if domain != "" {
			account = domain + `\` + name
		}
	}
	accounts[text] = account
	return account
}

// maxSID is the size of the largest SID in bytes (SECURITY_MAX_SID_SIZE of winnt.h).
const maxSID = 68

// integrityOfToken returns the integrity level, "" if it cannot be read.
func integrityOfToken(token windows.Token) string {
	var label struct { // a TOKEN_MANDATORY_LABEL and the SID that it points to
		windows.Tokenmandatorylabel
		sid [maxSID]byte
	}
	var n uint32
	err := windows.GetTokenInformation(token, windows.TokenIntegrityLevel,
		(*byte)(unsafe.Pointer(&label)), uint32(unsafe.Sizeof(label)), &n)
	if err != nil {
		return ""
	}
	sid := label.Label.Sid
	count := sid.SubAuthorityCount()
	if count == 0 {
		return ""
	}
	return integrityOf(sid.SubAuthority(uint32(count - 1)))
}
