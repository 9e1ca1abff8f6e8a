package container

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// parseDocker reads the config.v2.json of a container
// (github.com/moby/moby, daemon/container.Container). Its Image is the digest;
// that of Config is what was asked for.
func parseDocker(r io.Reader) (map[string]Container, error) {
	var c struct {
		ID     string
		Name   string // "/web"
		Config struct{ Image string }
	}
	if err := decode(r, &c); err != nil {
		return nil, err
	}
	return map[string]Container{c.ID: {Name: strings.TrimPrefix(c.Name, "/"), Image: c.Config.Image}}, nil
}

// parsePodman reads the containers.json of a storage
// (github.com/containers/storage, Container). What Podman and CRI-O note there of
// a container is JSON in a string; where they note nothing its names are those of
// the storage.
func parsePodman(r io.Reader) (map[string]Container, error) {
	var list []struct {
		ID       string   `json:"id"`
		Names    []string `json:"names"`
		Metadata string   `json:"metadata"`
	}
	if err := decode(r, &list); err != nil {
		return nil, err
	}
	all := make(map[string]Container, len(list))
	for _, c := range list {
		var noted struct {
			Image string `json:"image-name"`
			Name  string `json:"name"`
		}
		// Another program may note something else: then nothing is known of it.
		_ = json.Unmarshal([]byte(c.Metadata), &noted)
		found := Container{Name: noted.Name, Image: noted.Image}
		if found.Name == "" && len(c.Names) > 0 {
			found.Name = c.Names[0]
		}
		all[c.ID] = found
	}
	return all, nil
}

// decode reads one value, and nothing behind it.
func decode(r io.Reader, to any) error {
	d := json.NewDecoder(r)
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something stands behind the first value")
	}
	return nil
}
