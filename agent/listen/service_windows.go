package listen

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	ports "github.com/portaudit/portaudit/registry"
)

// serviceTable says which services run, as the service control manager knows
// them. The zero value knows none.
type serviceTable struct {
	hosted map[uint32][]string // by pid, sorted
	http   bool                // http.sys runs
	names  map[serviceTag]string
}

// serviceTag tells the services of one process apart.
type serviceTag struct{ pid, tag uint32 }

// readServices asks for the running services. An error comes with what could be
// had nevertheless.
func readServices() (serviceTable, error) {
	t := serviceTable{hosted: map[uint32][]string{}, names: map[serviceTag]string{}}
	m, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT|windows.SC_MANAGER_ENUMERATE_SERVICE)
	if err != nil {
		return t, fmt.Errorf("open the service control manager: %w", err)
	}
	defer windows.CloseServiceHandle(m) //nolint:errcheck // of an open handle it cannot fail
	t.http = running(m, httpService)
	return t, t.readHosted(m)
}

// maxServices is the size in bytes past which a list of services is refused;
// one takes some hundred.
const maxServices = 16 << 20

// readHosted lists the services of all processes.
func (t *serviceTable) readHosted(m windows.Handle) error {
	for size := uint32(64 << 10); size <= maxServices; {
		b := make([]byte, size)
		var needed, count, resume uint32
		err := windows.EnumServicesStatusEx(m, windows.SC_ENUM_PROCESS_INFO, windows.SERVICE_WIN32, windows.SERVICE_ACTIVE,
			&b[0], size, &needed, &count, &resume, nil)
		if errors.Is(err, windows.ERROR_MORE_DATA) { // needed is what was left over
			size += max(needed, size)
			continue
		}
		if err != nil {
			return fmt.Errorf("list services: %w", err)
		}
		for _, s := range unsafe.Slice((*windows.ENUM_SERVICE_STATUS_PROCESS)(unsafe.Pointer(&b[0])), count) {
			pid := s.ServiceStatusProcess.ProcessId
			t.hosted[pid] = append(t.hosted[pid], windows.UTF16PtrToString(s.ServiceName))
		}
		for _, names := range t.hosted {
			slices.Sort(names)
		}
		return nil
	}
	return fmt.Errorf("list services: the list is longer than %d bytes", maxServices)
}

// running reports whether a service runs; one that may not be asked does not.
func running(m windows.Handle, name string) bool {
	text, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return false
	}
	s, err := windows.OpenService(m, text, windows.SERVICE_QUERY_STATUS)
	if err != nil {
		return false
	}
	defer windows.CloseServiceHandle(s) //nolint:errcheck // of an open handle it cannot fail
	var status windows.SERVICE_STATUS
	return windows.QueryServiceStatus(s, &status) == nil && status.CurrentState == windows.SERVICE_RUNNING
}

// queryTag is undocumented, and what netstat -b, Process Hacker and others have
// named services with since Windows Vista. It is looked for in advapi32 alone:
// Wine's sechost has a stub of it that ends the program.
var queryTag = windows.NewLazySystemDLL("advapi32.dll").NewProc("I_QueryTagInformation")

// tagged returns the name of the service with a tag, "" if there is none.
func (t *serviceTable) tagged(pid, tag uint32) string {
	if tag == 0 || queryTag.Find() != nil {
		return ""
	}
	key := serviceTag{pid, tag}
	name, known := t.names[key]
	if !known {
		name = nameOfTag(key)
		t.names[key] = name
	}
	return name
}

// nameOfTag asks the service control manager for the name.
func nameOfTag(key serviceTag) string {
	const nameFromTag = 1 // eTagInfoLevelNameFromTag
	query := struct {     // TAG_INFO_NAME_FROM_TAG
		pid, tag, kind uint32
		name           *uint16
	}{pid: key.pid, tag: key.tag}
	code, _, _ := queryTag.Call(0, nameFromTag, uintptr(unsafe.Pointer(&query)))
	if query.name == nil {
		return ""
	}
	defer windows.LocalFree(windows.Handle(unsafe.Pointer(query.name))) //nolint:errcheck // memory that was just given
	if code != 0 {
		return ""
	}
	return windows.UTF16PtrToString(query.name)
}

// httpParameters is where http.sys keeps its settings. What listens by it is
// not to be had without a slow question to it (netsh http show servicestate),
// so these say it: the reservations of URLs, which most services that use it
// have, and the bindings of certificates, which each that takes TLS must have.
// A site that an administrator registers without either stays "System".
const httpParameters = `SYSTEM\CurrentControlSet\Services\HTTP\Parameters\`

// readHTTPPorts returns the ports that are set up in http.sys.
func readHTTPPorts() ([]ports.Port, error) {
	var found []ports.Port
	var errs []error
	for _, from := range []struct {
		key   string
		names func(registry.Key) ([]string, error)
		parse func(string) (ports.Port, bool)
	}{
		{"UrlAclInfo", func(k registry.Key) ([]string, error) { return k.ReadValueNames(-1) }, parseURLPort},
		{"SslBindingInfo", func(k registry.Key) ([]string, error) { return k.ReadSubKeyNames(-1) }, parseBindingPort},
		{"SslSniBindingInfo", func(k registry.Key) ([]string, error) { return k.ReadSubKeyNames(-1) }, parseBindingPort},
	} {
		names, err := readNames(httpParameters+from.key, from.names)
		if err != nil {
			errs = append(errs, err)
		}
		for _, name := range names {
			if p, ok := from.parse(name); ok {
				found = append(found, p)
			}
		}
	}
	return found, errors.Join(errs...)
}

// readNames returns the names in a key of the registry, none if there is no such key.
func readNames(path string, names func(registry.Key) ([]string, error)) ([]string, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE|registry.ENUMERATE_SUB_KEYS)
	if errors.Is(err, registry.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer k.Close()
	list, err := names(k)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return list, nil
}
