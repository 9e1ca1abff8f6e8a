package main

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent"
	"github.com/portaudit/portaudit/agent/audit"
)

// TestWriteDocument holds the document that is encoded in parts against what
// encoding/json makes of the whole.
func TestWriteDocument(t *testing.T) {
	many := agent.Report{Host: `a "listeners":null,"findings":null b`, Time: time.Unix(1, 2).UTC(), Listeners: []agent.Listener{}, Findings: []agent.ReportFinding{}}
	for i := range 1001 {
		many.Listeners = append(many.Listeners, agent.Listener{
			ID: fmt.Sprint(i), Address: "<&>\u2028\"", Owners: []audit.Owner{{Command: "x"}},
		})
		many.Findings = append(many.Findings, agent.ReportFinding{Finding: agent.Finding{Message: "<b>"}})
	}
	one := many
	one.Listeners, one.Findings = many.Listeners[:1], many.Findings[:1]
	none := many
	none.Listeners, none.Findings = []agent.Listener{}, []agent.ReportFinding{}
	for reason, r := range map[string]agent.Report{
		"thousands": many, "one": one, "none": none, "no lists at all": {},
	} {
		var want bytes.Buffer
		if err := compact(&want).Encode(r); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := writeDocument(&got, r); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%s: %v, %d bytes instead of %d, or others", reason, err, got.Len(), want.Len())
		}
	}
}
