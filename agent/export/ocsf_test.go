package export

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// ocsfTable is testdata/ocsf-1.7.0.json, what OCSF events are judged by.
type ocsfTable struct {
	Version    string
	Categories map[string]string
	Base       map[string]string // attributes of every class
	Classes    map[string]ocsfClass
	Objects    map[string]ocsfShape
	Types      map[string]string // of strings, with what they look like
}

type ocsfClass struct {
	Name       string
	Activities []int
	ocsfShape
}

type ocsfShape struct {
	Attributes map[string]string
	AtLeastOne []string `json:"at_least_one"`
	JustOne    []string `json:"just_one"`
}

func loadOCSF(t testing.TB) ocsfTable {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "ocsf-"+OCSFVersion+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var table ocsfTable
	if err := json.Unmarshal(b, &table); err != nil {
		t.Fatal(err)
	}
	if table.Version != OCSFVersion || len(table.Classes) < 8 || len(table.Objects) < 20 {
		t.Fatalf("the table is of %q, with %d classes and %d objects", table.Version, len(table.Classes), len(table.Objects))
	}
	return table
}

// check returns what is wrong with an event.
func (table ocsfTable) check(doc []byte) []string {
	var tree map[string]any
	if err := json.Unmarshal(doc, &tree); err != nil {
		return []string{err.Error()}
	}
	uid := fmt.Sprint(tree["class_uid"])
	class, known := table.Classes[uid]
	if !known {
		return []string{"there is no class " + uid}
	}
	shape := class.ocsfShape
	shape.Attributes = map[string]string{}
	for name, typ := range table.Base {
		shape.Attributes[name] = typ
	}
	for name, typ := range class.Attributes {
		shape.Attributes[name] = typ
	}
	wrong := table.checkShape(class.Name, shape, tree)
	number := func(key string) int { n, _ := tree[key].(float64); return int(n) }
	activity, classUID := number("activity_id"), number("class_uid")
	if !slices.Contains(class.Activities, activity) {
		wrong = append(wrong, fmt.Sprintf("class %s has no activity %d", class.Name, activity))
	}
	if number("type_uid") != classUID*100+activity || number("category_uid") != classUID/1000 {
		wrong = append(wrong, "type_uid or category_uid does not go with class_uid and activity_id")
	}
	if c := number("category_uid"); c != 0 && table.Categories[strconv.Itoa(c)] == "" {
		wrong = append(wrong, fmt.Sprintf("there is no category %d", c))
	}
	return append(wrong, table.checkProfiles(tree)...)
}

// checkProfiles checks that the profile of what is there is named.
func (table ocsfTable) checkProfiles(tree map[string]any) (wrong []string) {
	metadata, _ := tree["metadata"].(map[string]any)
	profiles := fmt.Sprint(metadata["profiles"])
	if metadata["version"] != table.Version {
		wrong = append(wrong, fmt.Sprintf("metadata.version is %v", metadata["version"]))
	}
	if tree["actor"] != nil && !strings.Contains(profiles, "host") {
		wrong = append(wrong, "an actor without the profile host")
	}
	actor, _ := tree["actor"].(map[string]any)
	process, _ := actor["process"].(map[string]any)
	if process["container"] != nil && !strings.Contains(profiles, "container") {
		wrong = append(wrong, "a process in a container without the profile container")
	}
	return wrong
}

func (table ocsfTable) checkShape(path string, shape ocsfShape, tree map[string]any) (wrong []string) {
	for name, v := range tree {
		if typ, known := shape.Attributes[name]; !known {
			wrong = append(wrong, fmt.Sprintf("%s has no attribute %s", path, name))
		} else {
			wrong = append(wrong, table.checkValue(path+"."+name, typ, v)...)
		}
	}
	for name, typ := range shape.Attributes {
		if _, has := tree[name]; !has && strings.Contains(typ, "!") {
			wrong = append(wrong, fmt.Sprintf("%s.%s is required", path, name))
		}
	}
	has := func(names []string) (n int) {
		for _, name := range names {
			if _, ok := tree[name]; ok {
				n++
			}
		}
		return n
	}
	if len(shape.AtLeastOne) > 0 && has(shape.AtLeastOne) == 0 {
		wrong = append(wrong, fmt.Sprintf("%s has none of %v", path, shape.AtLeastOne))
	}
	if n := has(shape.JustOne); len(shape.JustOne) > 0 && n != 1 {
		wrong = append(wrong, fmt.Sprintf("%s has %d of %v", path, n, shape.JustOne))
	}
	return wrong
}

func (table ocsfTable) checkValue(path, typ string, v any) (wrong []string) {
	typ, allowed, _ := strings.Cut(typ, "=")
	typ = strings.TrimSuffix(typ, "!")
	if one, isArray := strings.CutSuffix(typ, "[]"); isArray {
		all, ok := v.([]any)
		if !ok || len(all) == 0 {
			return []string{path + " is no array with something in it"}
		}
		for _, v := range all {
			wrong = append(wrong, table.checkValue(path+"[]", one, v)...)
		}
		return wrong
	}
	if object, ok := table.Objects[typ]; ok {
		tree, ok := v.(map[string]any)
		if !ok {
			return []string{path + " is no object"}
		}
		return table.checkShape(path, object, tree)
	}
	if !table.scalar(typ, v) {
		return []string{fmt.Sprintf("%s is %v, which is no %s", path, v, typ)}
	}
	if allowed != "" && !slices.Contains(strings.Split(allowed, ","), fmt.Sprint(v)) {
		return []string{fmt.Sprintf("%s is %v, allowed are %s", path, v, allowed)}
	}
	return nil
}

func (table ocsfTable) scalar(typ string, v any) bool {
	number, isNumber := v.(float64)
	text, isText := v.(string)
	switch typ {
	case "json_t":
		return true
	case "boolean_t":
		_, ok := v.(bool)
		return ok
	case "integer_t", "long_t", "timestamp_t":
		return isNumber && number == float64(int64(number))
	case "port_t":
		return isNumber && number >= 0 && number <= 65535
	case "ip_t":
		_, err := netip.ParseAddr(text)
		return err == nil && len(text) <= 40
	}
	pattern, known := table.Types[typ]
	return known && isText && regexp.MustCompile(pattern).MatchString(text)
}

func TestOCSFOfEachKind(t *testing.T) {
	table := loadOCSF(t)
	for _, kind := range kinds(t) {
		t.Run(kind, func(t *testing.T) {
			b, err := OCSF(record(kind), strings.Repeat("1f", 32))
			if err != nil {
				t.Fatal(err)
			}
			for _, why := range table.check(b) {
				t.Error(why)
			}
			golden(t, "ocsf", kind, b)
		})
	}
}

// TestOCSFTypes holds the numbers that people filter by.
func TestOCSFTypes(t *testing.T) {
	for kind, want := range map[string]int{
		audit.ListenerOpened: 400107, audit.ListenerClosed: 400102, audit.ListenerChanged: 400199,
		audit.FindingRaised: 200301, audit.FindingCleared: 200303, audit.CoverageChanged: 504001,
		audit.AgentStarted: 600203, audit.AgentStopped: 600204, "unheard.of": 99,
	} {
		b, err := OCSF(record(kind), "")
		var got struct {
			Type int `json:"type_uid"`
		}
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		if err != nil || got.Type != want {
			t.Errorf("%s is %d (%v), want %d", kind, got.Type, err, want)
		}
	}
}

func TestOCSFOfAnything(t *testing.T) {
	table := loadOCSF(t)
	wilds(t, func(e audit.Event) {
		b, err := OCSF(e, "no hash")
		if err != nil {
			t.Fatalf("%v of %+v", err, e)
		}
		if wrong := table.check(b); len(wrong) > 0 {
			t.Fatalf("%s\nin %.2000s", strings.Join(wrong, "\n"), b)
		}
		checkVisible(t, b)
	})
}

// TestOCSFTableCanRefuse holds the judge itself.
func TestOCSFTableCanRefuse(t *testing.T) {
	table := loadOCSF(t)
	good, err := OCSF(record(audit.FindingRaised), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ reason, old, new string }{
		{"an attribute that the class does not have", `"device":{`, `"listener":1,"device":{`},
		{"an attribute that the object does not have", `"device":{`, `"device":{"boot":1,`},
		{"a required attribute is missing", `"type_id":0,`, ``},
		{"a number that is not in the list", `"severity_id":3`, `"severity_id":7`},
		{"a type that is another class's", `"type_uid":200301`, `"type_uid":400107`},
		{"an activity that the class does not have", `"activity_id":1,`, `"activity_id":7,`},
		{"a string as a number", `"severity_id":3`, `"severity_id":"3"`},
		{"a port out of range", `"port":8099`, `"port":70000`},
		{"another version", `"version":"1.7.0"`, `"version":"1.4.0"`},
	} {
		bad := strings.Replace(string(good), tt.old, tt.new, 1)
		if bad == string(good) || len(table.check([]byte(bad))) == 0 {
			t.Errorf("%s is taken (changed: %v)", tt.reason, bad != string(good))
		}
	}
}

func TestOCSFHasEachOwner(t *testing.T) {
	b, err := OCSF(record(audit.FindingRaised), "")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Evidences []struct{ Process struct{ PID int } }
	}
	if err := json.Unmarshal(b, &got); err != nil || len(got.Evidences) != 2 || got.Evidences[0].Process.PID != 7 || got.Evidences[1].Process.PID != 9 {
		t.Errorf("%v: %+v, want an evidence for each of the two owners", err, got)
	}
}

func TestOCSFRefusesYears(t *testing.T) {
	e := record(audit.AgentStopped)
	e.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	if b, err := OCSF(e, ""); err == nil {
		t.Errorf("a time that JSON has no form for made %s", b)
	}
}
