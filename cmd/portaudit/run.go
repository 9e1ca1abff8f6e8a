package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
	"github.com/portaudit/portaudit/agent/listen"
	"github.com/portaudit/portaudit/policy"
	"github.com/portaudit/portaudit/registry"
)

func newRun(s *settings) *cobra.Command {
	var verbose bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Keep auditing this host and write the audit log",
		Long: `Run is the daemon in the foreground. It audits the host every interval,
compares with the audit before, and appends what changed to the audit log:
listeners opened, changed and closed, findings raised and cleared. Alerts go
to standard error, one a line, or where the configuration file says under
outputs: journald, syslog and others.

It remembers what it has said: started again, even after a crash, it repeats
no finding. SIGINT and SIGTERM stop it.

It takes no policy that others than root and its own user can change.
"portaudit reload", or SIGHUP, lets it read the policy again, and with
--policy-watch it does so when the file changes; a bad one is refused and the
one before stays in force.

Where the kernel and the rights allow it, the kernel tells of each listener at
the moment at which it opens, and audits settle what it told: one that is gone
before an audit is recorded too. --realtime on refuses to start without.

With --cross-check it also compares the ways in which the system shows its
sockets, at the start and then as often as you say: what one of them hides is
a finding of the rule hidden-port.

With --metrics it writes numbers about itself to a file in the text format of
Prometheus, after each audit that changed something and each minute.`,
		Example: `  sudo portaudit run
  portaudit run --log-dir ./log --state-dir ./state --interval 2s`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := s.explicit(c); err != nil {
				return usage(err)
			}
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			if err := distrustNames(resolved); err != nil {
				return usage(err)
			}
			if err := checkOutputs(resolved); err != nil {
				return usage(fmt.Errorf("configuration: %w", err))
			}
			return run(c.Context(), resolved, newLogger(verbose))
		},
	}
	s.daemonFlags(c)
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "tell on standard error what each audit that found something new took")
	s.policyFlag(c)
	s.logFlag(c)
	s.stateFlag(c)
	s.dataFlag(c)
	s.overlayFlag(c)
	s.sourceFlag(c)
	s.hashFlag(c)
	return c
}

// daemonFlags are those of no other command.
func (s *settings) daemonFlags(c *cobra.Command) {
	c.Flags().DurationVar(&s.interval, "interval", 0, "time between two audits (default 10s)")
	c.Flags().IntVar(&s.confirm, "confirm", 0, "audits that must see a listener before it is reported, 1 or more (default 2)")
	c.Flags().IntVar(&s.gone, "gone", 0, "audits in a row without a listener before it is reported closed, 1 or more (default 3)")
	c.Flags().DurationVar(&s.crossCheck, "cross-check", 0, "time between two cross-checks, such as 1h, at least 1m; 0: none (default none)")
	c.Flags().BoolVar(&s.probe, "probe", false, "with --cross-check: try to bind every port, in every network namespace")
	c.Flags().StringVar(&s.realtime, "realtime", "", "hear of listeners as they open: auto, on or off (default auto)")
	c.Flags().StringVar(&s.metrics, "metrics", "", "write metrics to this `FILE`, for node-exporter's textfile collector (default none)")
	c.Flags().BoolVar(&s.policyWatch, "policy-watch", false, "read the policy again when its file changes")
}

// distrustNames says why the files that name the policy, and the ports of which it
// speaks, are not to be trusted.
func distrustNames(s settings) error {
	for _, path := range []string{s.config, s.overlay} {
		var u untrusted
		if _, err := readTrusted(path); path != "" && errors.As(err, &u) {
			return fmt.Errorf("configuration: %w", u)
		}
	}
	return nil
}

func newLogger(verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// run opens the log and the policy, and lets a daemon work until ctx is done.
func run(ctx context.Context, s settings, logger *slog.Logger) (err error) {
	catalog, err := loadCatalog(s)
	if err != nil {
		return usage(err)
	}
	// Before the log is locked, by which others find whom to ask.
	reload, stop, err := reloads()
	if err != nil {
		logger.Warn("portaudit reload cannot reach this process", "error", err)
	}
	defer stop()
	log, err := audit.Open(s.logDir, audit.Options{
		Host: hostName(), Boot: listen.BootID(), Uptime: uptime, MaxSize: s.log.maxSize, MaxAge: s.log.maxAge,
	})
	if err != nil {
		return failure(withRemedy(err, "--log-dir"))
	}
	defer func() {
		ended := failure(log.Close())
		if !errors.Is(err, audit.ErrDegraded) { // then it has said why already
			err = errors.Join(err, ended)
		}
	}()
	if s.policy, err = absolute(s.policy); err != nil {
		return failure(err)
	}
	files := &policyReader{path: s.policy}
	p, err := startPolicy(files, log)
	if err != nil {
		return err
	}
	if err := makePrivate(s.stateDir, func(err error) { logger.Warn(err.Error()) }); err != nil {
		return failure(withRemedy(err, "--state-dir"))
	}
	warnOfKept(s, logger)
	return ready{settings: s, catalog: catalog, log: log, files: files, policy: p, reload: reload, logger: logger}.work(ctx)
}

// ready is what run has made ready for the daemon.
type ready struct {
	settings
	catalog *registry.Catalog
	log     *audit.Log
	files   *policyReader
	policy  *policy.Policy
	reload  <-chan struct{}
	logger  *slog.Logger
}

// work starts what works beside the loop, and lets the loop work until ctx is done.
func (d ready) work(ctx context.Context) (err error) {
	s, log, logger := d.settings, d.log, d.logger
	sockets, err := lister(s, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, failure(sockets.Close())) }()
	// A daemon that stays small matters more here than the processor time of its
	// collector, which has nothing to do while nothing changes: with 12,000
	// listeners the default of 100 takes 4 MB more (docs/performance.md).
	debug.SetGCPercent(25)
	realtime, unwatch, err := watch(ctx, s.realtime, sockets)
	if err != nil {
		return failure(err)
	}
	defer func() { err = errors.Join(err, failure(unwatch())) }()
	if err := relinquish(s); err != nil {
		logger.Info(err.Error()) // no less is seen with them
	}
	outputs, endOutputs, err := startOutputs(s, log.Seq(), logger)
	if err != nil {
		return failure(err)
	}
	defer endOutputs()
	logger.Info("auditing", "interval", s.interval, "policy", d.policy.Source, "log", s.logDir, "state", s.stateDir)
	o := asked(agent.Options{
		List: sockets.List, Catalog: d.catalog, Policy: d.policy,
		Reload: d.reload, LoadPolicy: d.files.load,
		Realtime: realtime, Log: log, LogDir: s.logDir, StateDir: s.stateDir, Unlogged: s.log.unlogged,
		Alerts: outputs.feed.Put, Logger: logger,
		Interval: s.interval, Limits: agent.Limits{Confirm: s.confirm, Gone: s.gone},
		Version: version(), PID: os.Getpid(),
	}, s, d.files, sockets)
	if o, err = signed(o, s, log); err != nil {
		return failure(withRemedy(err, "--state-dir"))
	}
	warnOfKey(filepath.Join(s.stateDir, audit.SigningKeyName), logger)
	var untidy func()
	o.Notes, o.Rotated, untidy = tidy(ctx, s.logDir, s.log.keep, logger)
	defer untidy()
	if s.metrics != "" {
		var stop func()
		o.Metrics, stop = publish(outputs.metricsTo(s.metrics), logger)
		defer stop()
	}
	return failure(agent.Run(ctx, o))
}

// absolute returns the path of a policy, if there is one, from the root: it is read
// again later, and status tells of it elsewhere.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// asked returns the options with what is done only where it was asked for.
func asked(o agent.Options, s settings, files *policyReader, sockets *listen.Lister) agent.Options {
	if s.policyWatch {
		o.PolicyChanged = files.changed
	}
	if s.crossCheck > 0 {
		o.CrossEvery = s.crossCheck
		o.CrossCheck = func(ctx context.Context) (listen.CrossReport, error) {
			return sockets.CrossCheck(ctx, listen.CrossOptions{Probe: s.probe})
		}
	}
	return o
}

// signed returns the options with a key by which the log is signed.
func signed(o agent.Options, s settings, log *audit.Log) (agent.Options, error) {
	signer, err := audit.OpenSigner(s.stateDir, s.logDir, hostName())
	o.Sign = func() ([]audit.Event, error) { return log.Checkpoint(signer) }
	o.SignAfter, o.SignEvery = s.log.signAfter, s.log.signEvery
	return o, err
}

// startPolicy loads the policy to start with. A bad one is recorded before the
// program ends: an auditor asks why nothing was audited.
func startPolicy(files *policyReader, log *audit.Log) (*policy.Policy, error) {
	p, err := files.load()
	if err == nil {
		return p, nil
	}
	_, logErr := log.Append(agent.Rejected(err, nil))
	return nil, usage(errors.Join(err, logErr))
}

// withRemedy says what to do about a directory that may not be used.
func withRemedy(err error, flag string) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: run as root, or name a directory of your own with %s", err, flag)
	}
	return err
}

// warnOfKept tells of directories of the daemon's in which others can change what it
// keeps: it goes on, for a log that others can change is better than none.
func warnOfKept(s settings, logger *slog.Logger) {
	for _, dir := range []string{s.logDir, s.stateDir} {
		f, err := openTrusted(dir, folder)
		if err == nil {
			err = f.Close()
		}
		told(err, func(err error) { logger.Warn("others can change what is kept", "error", err) })
	}
}

// warnOfKey tells of a signing key that others can read, by which they can sign a log
// of their own.
func warnOfKey(path string, logger *slog.Logger) {
	f, err := openTrusted(path, text)
	if err == nil {
		err = errors.Join(exposed(f, path), f.Close())
	}
	told(err, func(err error) {
		logger.Warn("others can sign as this host: move the key away, and a new one is made", "error", err)
	})
}
