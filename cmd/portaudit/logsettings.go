package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// logKey is the section of the configuration file about the files of the log.
const logKey = "log"

// logSettings say how large the log becomes, and what is done when it cannot be
// written. The zero value is a file without the section.
type logSettings struct {
	maxSize  int64         // of a file
	maxAge   time.Duration // of a file
	keep     audit.Retention
	unlogged agent.Unlogged

	signAfter uint64        // records, after which the log is signed
	signEvery time.Duration // between two signatures, where there is something new
}

// defaultLog is what a section says that is empty. There is a bound on the whole,
// for a log that fills the disk harms what it is about.
func defaultLog() logSettings {
	return logSettings{
		maxSize: audit.DefaultMaxSize, maxAge: audit.DefaultMaxAge,
		keep:      audit.Retention{Size: 1 << 30, Age: 400 * 24 * time.Hour},
		signAfter: 1000, signEvery: time.Hour,
	}
}

// Bounds of what a file of the log may be.
const (
	minLogSize = 64 << 10
	minLogAge  = time.Minute
	// minSignEvery is for the reader of what is signed: each is a record.
	minSignEvery = time.Minute
	maxPeriod    = 100 * 366 * 24 * time.Hour
)

// parseLog reads the section, and returns every mistake in it.
func parseLog(section *yaml.Node, name string) (logSettings, []error) {
	s := defaultLog()
	at := func(n *yaml.Node, err error) error { return fmt.Errorf("%s:%d:%d: %w", name, n.Line, n.Column, err) }
	if section.Kind != yaml.MappingNode {
		return s, []error{at(section, fmt.Errorf("%s wants keys under it, such as \"max_size: 64MiB\"", logKey))}
	}
	var problems []error
	keys, seen := logKeys(), map[string]bool{}
	where := section // of what is kept
	for i := 0; i+1 < len(section.Content); i += 2 {
		key, value := section.Content[i], section.Content[i+1]
		set, known := keys[key.Value]
		switch {
		case !known:
			problems = append(problems, at(key, fmt.Errorf("unknown key %q of %s: known are %s", key.Value, logKey, strings.Join(slices.Sorted(maps.Keys(keys)), ", "))))
		case seen[key.Value]:
			problems = append(problems, at(key, fmt.Errorf("%q is given twice", key.Value)))
		case value.Kind != yaml.ScalarNode:
			problems = append(problems, at(value, fmt.Errorf("%s wants one value", key.Value)))
		default:
			if err := set(&s, value.Value); err != nil {
				problems = append(problems, at(value, fmt.Errorf("%s: %w", key.Value, err)))
			}
		}
		if seen[key.Value] = true; key.Value == "keep_size" {
			where = value
		}
	}
	if k := s.keep.Size; len(problems) == 0 && k != 0 && k < s.maxSize {
		problems = append(problems, at(where, fmt.Errorf("keep_size is less than max_size, which is %dKiB: one file alone would be more than is kept, so make that smaller or this larger", s.maxSize>>10)))
	}
	return s, problems
}

// logKeys take the values of the keys of the section.
func logKeys() map[string]func(*logSettings, string) error {
	return map[string]func(*logSettings, string) error{
		"max_size": func(s *logSettings, text string) (err error) {
			if s.maxSize, err = parseSize(text); err == nil && s.maxSize < minLogSize {
				err = fmt.Errorf("%q is under %dKiB", text, minLogSize>>10)
			}
			return err
		},
		"max_age": func(s *logSettings, text string) (err error) {
			if s.maxAge, err = parsePeriod(text); err == nil && s.maxAge < minLogAge {
				err = fmt.Errorf("%q is under %v", text, minLogAge)
			}
			return err
		},
		"keep_size": func(s *logSettings, text string) (err error) {
			s.keep.Size, err = parseSize(text)
			return err
		},
		"keep_age": func(s *logSettings, text string) (err error) {
			s.keep.Age, err = parsePeriod(text)
			return err
		},
		"keep_count": func(s *logSettings, text string) error {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil || strconv.FormatUint(n, 10) != text {
				return fmt.Errorf("%q is no whole number of files", text)
			}
			s.keep.Count = int(n)
			return nil
		},
		"checkpoint_records": func(s *logSettings, text string) error {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
				return fmt.Errorf("%q is no whole number of records, 1 or more", text)
			}
			s.signAfter = n
			return nil
		},
		"checkpoint_every": func(s *logSettings, text string) (err error) {
			if s.signEvery, err = parsePeriod(text); err == nil && s.signEvery < minSignEvery {
				err = fmt.Errorf("%q is under %v", text, minSignEvery)
			}
			return err
		},
		"disk_full": func(s *logSettings, text string) (err error) {
			s.unlogged, err = agent.ParseUnlogged(text)
			return err
		},
	}
}

// parsePeriod reads a duration, in which days may be given: 720h, 30d or 0.
func parsePeriod(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 || d > maxPeriod {
		return 0, fmt.Errorf("%q is no time such as 12h or 30d", text)
	}
	return d, nil
}
