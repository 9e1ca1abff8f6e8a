package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
)

// readConfig reads the configuration file; fs.ErrNotExist and fs.ErrPermission
// can be matched.
func readConfig(path string) (settings, error) {
	b, err := readFile(path)
	if err != nil {
		return settings{}, err
	}
	return parseConfig(b, path)
}

// parseConfig decodes a configuration as strictly as a policy: an unknown or
// repeated key, a second document or a value of the wrong kind is an error
// with file, line and column, and all errors are reported at once.
func parseConfig(b []byte, name string) (settings, error) {
	if len(b) > maxFile {
		return settings{}, fmt.Errorf("%s: more than %d bytes", name, maxFile)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(b))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return settings{}, nil // nothing but comments
	} else if err != nil {
		return settings{}, policy.SyntaxError(name, b, err)
	}
	if err := decoder.Decode(&second); err != nil && !errors.Is(err, io.EOF) {
		return settings{}, policy.SyntaxError(name, b, err)
	} else if err == nil {
		return settings{}, fmt.Errorf("%s:%d:%d: a second document begins: put all keys into one", name, second.Line, second.Column)
	}
	var s settings
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return settings{}, fmt.Errorf("%s:%d:%d: a list of keys is wanted, such as \"interval: 10s\"", name, root.Line, root.Column)
	}
	var problems []error
	seen := map[string]bool{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		var err error
		switch key.Value {
		case logKey:
			var wrong []error
			s.log, wrong = parseLog(value, name)
			problems = append(problems, wrong...)
		case outputsKey:
			var wrong []error
			s.outputs, wrong = parseOutputs(value, name)
			problems = append(problems, wrong...)
		default:
			err = s.set(key.Value, value)
		}
		if seen[key.Value] {
			err = fmt.Errorf("%q is given twice", key.Value)
		}
		seen[key.Value] = true
		if err != nil {
			problems = append(problems, fmt.Errorf("%s:%d:%d: %w", name, value.Line, value.Column, err))
		}
	}
	return s, errors.Join(problems...)
}

// set takes the value of one key.
func (s *settings) set(key string, value *yaml.Node) error {
	texts := map[string]*string{
		"policy": &s.policy, "log_dir": &s.logDir, "state_dir": &s.stateDir,
		"data_dir": &s.dataDir, "overlay": &s.overlay, "metrics": &s.metrics,
	}
	counts := map[string]*int{"confirm": &s.confirm, "gone": &s.gone}
	if target, ok := texts[key]; ok {
		if value.Kind != yaml.ScalarNode || value.Tag != "!!str" || value.Value == "" {
			return fmt.Errorf("%s wants a path", key)
		}
		*target = value.Value
		return nil
	}
	if target, ok := counts[key]; ok {
		n, err := strconv.Atoi(value.Value)
		if err != nil || n < 1 || strconv.Itoa(n) != value.Value {
			return fmt.Errorf("%s wants a whole number of audits, 1 or more, not %q", key, value.Value)
		}
		*target = n
		return nil
	}
	switch key {
	case "source":
		_, err := listen.ParseWay(value.Value)
		s.source = value.Value
		return err
	case "realtime":
		s.realtime = value.Value
		return checkRealtime(value.Value)
	case "hash_limit":
		_, err := parseSize(value.Value)
		s.hash = value.Value
		return err
	case "interval":
		return setDuration(&s.interval, key, value.Value, minInterval, "10s")
	case "cross_check":
		return setDuration(&s.crossCheck, key, value.Value, minCrossCheck, "1h")
	case "probe":
		return setBool(&s.probe, key, value)
	case "policy_watch":
		return setBool(&s.policyWatch, key, value)
	default:
		return fmt.Errorf("unknown key %q: known are %s", key, strings.Join(slices.Sorted(slices.Values(append(configKeys(), logKey, outputsKey))), ", "))
	}
}

// outputsKey is a key that no flag has: it is a list.
const outputsKey = "outputs"

// configKeys are the keys of the configuration file that have one value. Each has a
// flag of the same name, with - for _.
func configKeys() []string {
	return []string{
		"confirm", "cross_check", "data_dir", "gone", "hash_limit", "interval", "log_dir", "metrics", "overlay", "policy",
		"policy_watch", "probe", "realtime", "source", "state_dir",
	}
}

// parseSize reads a number of bytes: 0, or a whole number of KiB, MiB or GiB
// (IEC 80000-13).
func parseSize(text string) (int64, error) {
	units := map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
	if text == "0" {
		return 0, nil
	}
	digits := strings.TrimRight(text, "KMGiB")
	n, err := strconv.ParseUint(digits, 10, 20)
	unit, known := units[strings.TrimSpace(strings.TrimPrefix(text, digits))]
	if err != nil || !known || n == 0 {
		return 0, fmt.Errorf("%q is no size: use a whole number with KiB, MiB or GiB, such as 64MiB, or 0", text)
	}
	return int64(n) * unit, nil
}

func setBool(target *bool, key string, value *yaml.Node) error {
	if value.Tag != "!!bool" {
		return fmt.Errorf("%s wants true or false, not %q", key, value.Value)
	}
	return value.Decode(target)
}

func setDuration(target *time.Duration, key, text string, least time.Duration, example string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < least {
		return fmt.Errorf("%s wants a duration of %v or more, such as %s, not %q", key, least, example, text)
	}
	*target = d
	return nil
}
