//go:build unix && !linux

package digest

func identify(path string) (identity, error) { return statIdentity(path) }
