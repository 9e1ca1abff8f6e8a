package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/portaudit/portaudit/agent/audit"
)

// verifyFlags are those of log verify.
type verifyFlags struct {
	checkpoint, key, proof string
	asJSON                 bool
}

func newLogVerify(s *settings) *cobra.Command {
	var f verifyFlags
	c := &cobra.Command{
		Use:   "verify",
		Short: "Show whether the audit log is as it was written",
		Long: `Verify reads all of the audit log, checks that each record follows the one
before it, and then the checkpoints: those that the log holds, and the last,
which lies beside it. It names the first record that was changed or is
missing.

Who may write to the log's directory can replace everything in it. So keep
checkpoints and the public key on another host ("portaudit log checkpoint",
"portaudit log key"), and give them here. --checkpoint takes the signed note,
and what journald or a syslog server has kept of it: lines with the record
log.checkpoint, of which the last counts.

With --proof it needs no log: it checks a proof that "portaudit log prove"
has made, and prints the record that is proven. Without --key it takes the
key of the log in --log-dir, if there is one.

Exit codes: 0 all is as it was written; 1 it could not be checked; 2 a wrong
call; 3 the log was changed or is damaged, or the proof does not hold.`,
		Example: `  sudo portaudit log verify
  sudo portaudit log verify --checkpoint web1.checkpoint --key web1.key
  portaudit log verify --proof record.tlog-proof --key web1.key`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if f.proof != "" && f.checkpoint != "" {
				return see(c, "--proof has its own checkpoint: give it or --checkpoint")
			}
			resolved, err := s.resolve()
			if err != nil {
				return usage(err)
			}
			if f.proof != "" {
				return verifyProof(c, resolved, f)
			}
			return verifyLog(c, resolved, f)
		},
	}
	c.Flags().StringVar(&f.checkpoint, "checkpoint", "", "a checkpoint that was kept elsewhere: `FILE`, - is standard input")
	c.Flags().StringVar(&f.key, "key", "", "the public key: a `KEY`, or a file of them (default "+audit.KeyName+" in the log's directory)")
	c.Flags().StringVar(&f.proof, "proof", "", "check this proof, not the log: `FILE`, - is standard input")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON document (docs/json.md)")
	s.logFlag(c)
	return c
}

// verifiedLog is what log verify --json prints.
type verifiedLog struct {
	Schema      int        `json:"schema"`
	Host        string     `json:"host"`
	Time        time.Time  `json:"time"`
	Log         string     `json:"log"`
	Good        bool       `json:"good"`
	First       *uint64    `json:"first"`
	Last        *uint64    `json:"last"`
	Hash        string     `json:"hash"`
	Files       int        `json:"files"`
	Bytes       int64      `json:"bytes"`
	Checkpoints int        `json:"checkpoints"`
	Covered     uint64     `json:"covered"`
	Abandoned   uint64     `json:"abandoned"`
	Torn        int64      `json:"torn"`
	Damage      *logDamage `json:"damage"`
}

// logDamage is the first thing that is wrong with a log.
type logDamage struct {
	First   *uint64 `json:"first"`
	Last    *uint64 `json:"last"`
	File    string  `json:"file"`
	Offset  *int64  `json:"offset"`
	Message string  `json:"message"`
}

// checkedLog is the document of what was found; err is a *audit.DamageError or nil.
func checkedLog(dir string, v audit.Verified, err error) verifiedLog {
	r := verifiedLog{
		Schema: 1, Host: audit.Visible(hostName()), Time: time.Now().UTC(), Log: audit.Visible(dir), Good: err == nil,
		First: unlessZero(v.First), Last: unlessZero(v.Last), Files: v.Files, Bytes: v.Bytes,
		Checkpoints: v.Signed, Covered: v.Covered, Abandoned: v.Abandoned, Torn: v.Torn,
	}
	if v.Last > 0 {
		r.Hash = v.Hash
	}
	var d *audit.DamageError
	if errors.As(err, &d) {
		r.Damage = &logDamage{First: unlessZero(d.Seq), Last: unlessZero(max(d.Seq, d.Last)), File: audit.Visible(d.File), Message: audit.Visible(err.Error())}
		if d.File != "" {
			r.Damage.Offset = &d.Offset
		}
	}
	return r
}

func unlessZero(n uint64) *uint64 {
	if n == 0 {
		return nil
	}
	return &n
}

func verifyLog(c *cobra.Command, s settings, f verifyFlags) error {
	o := audit.VerifyOptions{}
	var err error
	if f.key != "" {
		if o.Keys, err = readKeys(f.key); err != nil {
			return usage(err)
		}
	}
	if f.checkpoint != "" {
		text, err := readGiven(c, f.checkpoint)
		if err == nil {
			if o.Checkpoint, err = audit.FindCheckpoint(text); err != nil {
				err = fmt.Errorf("checkpoint %s: %w", f.checkpoint, err)
			}
		}
		if err != nil {
			return failure(err)
		}
	}
	p := newProgress(c.ErrOrStderr(), "verifying")
	o.Progress = p.until(c.Context())
	found, err := audit.VerifyLog(s.logDir, o)
	p.hide()
	damaged := errors.As(err, new(*audit.DamageError))
	if err != nil && !damaged {
		return failure(logRemedy(err))
	}
	r := checkedLog(s.logDir, found, err)
	out := c.OutOrStdout()
	if f.asJSON {
		err = printJSON(out, r)
	} else {
		err = writeVerified(out, screenOf(out), r, f.checkpoint != "")
	}
	if err == nil && damaged {
		return exitError{code: exitFindings}
	}
	return failure(err)
}

// readKeys reads public keys from a file, or what is one itself.
func readKeys(given string) (audit.Keys, error) {
	text, err := readFile(given)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(given, "+") {
		text, err = []byte(given), nil
	}
	if err != nil {
		return audit.Keys{}, fmt.Errorf("key: %w", err)
	}
	keys, err := audit.ParseKeys(text)
	if err != nil {
		return audit.Keys{}, fmt.Errorf("key %s: %w", given, err)
	}
	return keys, nil
}

// maxGiven bounds a checkpoint or a proof: a record has up to 16 MiB.
const maxGiven = 32<<20 + 1

// readGiven reads a file that the user names, - being standard input.
func readGiven(c *cobra.Command, path string) ([]byte, error) {
	in := c.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxGiven))
}

// writeVerified prints the result for people.
func writeVerified(w io.Writer, s screen, r verifiedLog, elsewhere bool) error {
	var b strings.Builder
	if r.Damage != nil {
		b.WriteString(s.wrap("", s.paint("high", "DAMAGED")+": "+r.Damage.Message+"."))
		if r.Covered > 0 {
			b.WriteString(s.wrap("", fmt.Sprintf("The last good checkpoint is of the records up to %d.", r.Covered)))
		}
		if r.Last != nil {
			b.WriteString(s.wrap("", fmt.Sprintf("Read up to record %d. Keep the directory as it is: it is evidence.", *r.Last)))
		}
		_, err := io.WriteString(w, b.String())
		return err
	}
	if r.Last == nil {
		_, err := io.WriteString(w, "The log is empty.\n")
		return err
	}
	b.WriteString(s.wrap("", fmt.Sprintf("%s: records %d to %d in %s follow each other.", s.paint("bold", "Good"), *r.First, *r.Last, counted(r.Files, "file"))))
	b.WriteString(s.wrap("", coveredSentence(r, elsewhere)))
	if *r.First > 1 {
		b.WriteString(s.wrap("", fmt.Sprintf("Records 1 to %d were removed as the limits on what is kept say, and the log tells of it.", *r.First-1)))
	}
	if r.Abandoned > 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("%s behind failed writes were abandoned: they were never acknowledged, and were written again elsewhere.", counted(int(r.Abandoned), "line"))))
	}
	if r.Torn > 0 {
		b.WriteString(s.wrap("", fmt.Sprintf("%d bytes at the end are no whole record: one that is just being written, or what a crash has left.", r.Torn)))
	}
	fmt.Fprintf(&b, "Head: %d %s\n", *r.Last, r.Hash)
	_, err := io.WriteString(w, b.String())
	return err
}

// coveredSentence says what the signatures say.
func coveredSentence(r verifiedLog, elsewhere bool) string {
	if r.Covered == 0 {
		return "No checkpoint covers them: one who can write the files could have made all of them anew."
	}
	text := fmt.Sprintf("Signed up to record %d: %s in the log, and the last beside it.", r.Covered, counted(r.Checkpoints, "checkpoint"))
	if behind := *r.Last - r.Covered; behind > 0 {
		text += fmt.Sprintf(" %s behind it are not signed yet.", counted(int(behind), "record"))
	}
	if elsewhere {
		return text + " The checkpoint that was kept elsewhere fits, too."
	}
	return text + " This is as trustworthy as this host: a checkpoint that was kept elsewhere would show more (--checkpoint)."
}

// provenRecord is what log verify --proof --json prints.
type provenRecord struct {
	Schema int     `json:"schema"`
	Good   bool    `json:"good"`
	Origin string  `json:"origin"`
	Size   *uint64 `json:"size"`
	Line   string  `json:"line"` // not as an object: it is these bytes that are proven
	Reason string  `json:"reason"`
}

func verifyProof(c *cobra.Command, s settings, f verifyFlags) error {
	given := f.key
	if given == "" {
		given = filepath.Join(s.logDir, audit.KeyName)
	}
	keys, err := readKeys(given)
	if err != nil {
		return usage(fmt.Errorf("%w: give the log's public key by --key", err))
	}
	text, err := readGiven(c, f.proof)
	if err != nil {
		return failure(err)
	}
	r, seq := provenBy(text, keys)
	out := c.OutOrStdout()
	switch {
	case f.asJSON:
		err = printJSON(out, r)
	case r.Good:
		if _, err = fmt.Fprintln(out, r.Line); err == nil {
			_, err = fmt.Fprintf(c.ErrOrStderr(), "Proven: record %d of the log %s, by a checkpoint of %d records.\n", seq, r.Origin, *r.Size)
		}
	default:
		_, err = fmt.Fprintf(c.ErrOrStderr(), "Not proven: %s.\n", r.Reason)
	}
	if err == nil && !r.Good {
		return exitError{code: exitFindings}
	}
	return failure(err)
}

// provenBy checks a proof, and returns the number of the record, too.
func provenBy(text []byte, keys audit.Keys) (r provenRecord, seq uint64) {
	p, err := audit.ParseProof(text)
	var c audit.Checkpoint
	if err == nil {
		_, c, err = p.Verify(keys)
	}
	if err != nil {
		return provenRecord{Schema: 1, Reason: audit.Visible(err.Error())}, 0
	}
	return provenRecord{Schema: 1, Good: true, Origin: audit.Visible(c.Origin), Size: &c.Size, Line: string(p.Line)}, p.Seq
}
