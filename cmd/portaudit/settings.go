package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/listen"
)

// settings are the values of flags, "" where a flag was not given. resolve
// puts the configuration file and the defaults behind them.
type settings struct {
	config   string
	policy   string
	logDir   string
	stateDir string
	dataDir  string
	overlay  string
	source   string
	realtime string // one of realtimeModes
	metrics  string // file for them, "": none
	hash     string // the largest program that is hashed, as parseSize reads it

	interval time.Duration
	confirm  int
	gone     int

	crossCheck time.Duration // between two cross-checks, 0: none; less: none, whatever the file says
	probe      bool          // with them, try to bind every port
	noProbe    bool          // do not, whatever the file says

	log     logSettings // no flag has them
	outputs *outputList // of alerts, nil: lines on standard error

	policyWatch   bool // read the policy again when it changes
	noPolicyWatch bool // do not, whatever the file says
}

// paths are where the files of an installation lie.
type paths struct {
	config, policy, logDir, stateDir, dataDir, services string
}

// defaultPaths follow the conventions of the system: the Filesystem Hierarchy
// Standard, or %ProgramData% on Windows.
func defaultPaths() paths {
	if runtime.GOOS != "windows" {
		return paths{
			config: "/etc/portaudit/portaudit.yaml", policy: "/etc/portaudit/policy.yaml",
			logDir: "/var/log/portaudit", stateDir: "/var/lib/portaudit/state", dataDir: "/var/lib/portaudit/data",
			services: "/etc/services",
		}
	}
	root := filepath.Join(os.Getenv("ProgramData"), "PortAudit")
	return paths{
		config: filepath.Join(root, "portaudit.yaml"), policy: filepath.Join(root, "policy.yaml"),
		logDir: filepath.Join(root, "log"), stateDir: filepath.Join(root, "state"), dataDir: filepath.Join(root, "data"),
		services: filepath.Join(os.Getenv("SystemRoot"), "System32", "drivers", "etc", "services"),
	}
}

// Defaults of what is no path.
const (
	defaultInterval = 10 * time.Second
	defaultConfirm  = 2
	defaultGone     = 3
	defaultHash     = "64MiB" // listen.DefaultMaxDigest
	minInterval     = time.Second
	minCrossCheck   = time.Minute
)

// The flags, each on the commands that use it.

func (s *settings) policyFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.policy, "policy", "", "policy `FILE` (default "+defaultPaths().policy+" if there is one, else the built-in policy)")
}

func (s *settings) logFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.logDir, "log-dir", "", "`DIR` of the audit log (default "+defaultPaths().logDir+")")
}

func (s *settings) stateFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.stateDir, "state-dir", "", "`DIR` of what was seen before (default "+defaultPaths().stateDir+")")
}

func (s *settings) dataFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.dataDir, "data-dir", "", "`DIR` of the imported registry (default "+defaultPaths().dataDir+")")
}

func (s *settings) overlayFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.overlay, "overlay", "", "`FILE` with the names of your own ports")
}

func (s *settings) sourceFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.source, "source", "", "find owners by this `WAY`: auto, bpf, proc or gopsutil, which sees TCP and UDP of one network namespace alone (default auto)")
}

func (s *settings) hashFlag(c *cobra.Command) {
	c.Flags().StringVar(&s.hash, "hash-limit", "", "hash no program larger than this `SIZE`, such as 1GiB; 0: none (default "+defaultHash+")")
}

// explicit refuses zeros that were given as flags, where 0 stands for a flag
// that was not, and notes what was switched off.
func (s *settings) explicit(c *cobra.Command) error {
	changed := c.Flags().Changed
	switch {
	case changed("confirm") && s.confirm == 0, changed("gone") && s.gone == 0:
		return errAudits
	case changed("interval") && s.interval == 0:
		return fmt.Errorf("interval %v is under %v", s.interval, minInterval)
	}
	if changed("cross-check") && s.crossCheck == 0 {
		s.crossCheck = -1
	}
	s.noPolicyWatch = changed("policy-watch") && !s.policyWatch
	s.noProbe = changed("probe") && !s.probe || s.crossCheck < 0
	return nil
}

var errAudits = errors.New("confirm and gone count audits: they must be 1 or more")

// resolve returns the settings with the configuration file and the defaults
// behind the flags. Only a file that was asked for must exist.
func (s settings) resolve() (settings, error) {
	p := defaultPaths()
	asked := s.config != ""
	if !asked {
		s.config = p.config
	}
	file, err := readConfig(s.config)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
	case errors.Is(err, fs.ErrPermission) && !asked:
		return s, fmt.Errorf("configuration: %w: run as root, or name another file with --config", err)
	case err != nil:
		return s, fmt.Errorf("configuration: %w", err)
	}
	if _, err := os.Stat(p.policy); err != nil {
		p.policy = "" // none installed: the built-in one
	}
	s.policy = cmp.Or(s.policy, file.policy, p.policy)
	s.logDir = cmp.Or(s.logDir, file.logDir, p.logDir)
	s.stateDir = cmp.Or(s.stateDir, file.stateDir, p.stateDir)
	s.dataDir = cmp.Or(s.dataDir, file.dataDir, p.dataDir)
	s.overlay = cmp.Or(s.overlay, file.overlay)
	s.metrics = cmp.Or(s.metrics, file.metrics)
	s.log = cmp.Or(file.log, defaultLog())
	s.outputs = file.outputs
	s.interval = cmp.Or(s.interval, file.interval, defaultInterval)
	s.confirm = cmp.Or(s.confirm, file.confirm, defaultConfirm)
	s.gone = cmp.Or(s.gone, file.gone, defaultGone)
	s.source = cmp.Or(s.source, file.source, listen.Auto.String())
	s.realtime = cmp.Or(s.realtime, file.realtime, realtimeModes[0])
	s.hash = cmp.Or(s.hash, file.hash, defaultHash)
	s.crossCheck = max(0, cmp.Or(s.crossCheck, file.crossCheck))
	s.probe = !s.noProbe && (s.probe || file.probe)
	s.policyWatch = !s.noPolicyWatch && (s.policyWatch || file.policyWatch)
	return s, s.check()
}

// check refuses settings that make no sense, alone or together.
func (s settings) check() error {
	if _, err := parseSize(s.hash); err != nil {
		return fmt.Errorf("hash-limit: %w", err)
	}
	if _, err := listen.ParseWay(s.source); err != nil {
		return err
	}
	if err := checkRealtime(s.realtime); err != nil {
		return err
	}
	if s.metrics != "" && filepath.Ext(s.metrics) != metricsExt {
		return fmt.Errorf("metrics %s: node-exporter reads no file whose name does not end in %s: give it such a name", s.metrics, metricsExt)
	}
	if s.interval < minInterval {
		return fmt.Errorf("interval %v is under %v", s.interval, minInterval)
	}
	if s.crossCheck != 0 && s.crossCheck < minCrossCheck {
		return fmt.Errorf("%v between two cross-checks is under %v", s.crossCheck, minCrossCheck)
	}
	if s.probe && s.crossCheck == 0 {
		return errors.New("the probe is a part of the cross-check: give both, such as --cross-check 1h --probe")
	}
	if s.confirm < 1 || s.gone < 1 {
		return errAudits
	}
	return nil
}
