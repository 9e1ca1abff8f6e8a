package policy

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"

	"github.com/portaudit/portaudit/registry"
)

// Schema returns a JSON Schema (draft 2020-12) of the language, by which editors
// complete and check a policy. It is no substitute for Parse, which refuses more.
func Schema() ([]byte, error) {
	return json.MarshalIndent(schema(), "", "  ")
}

// object is a part of a JSON Schema.
type object = map[string]any

func schema() object {
	properties := object{
		"version":       object{"const": 1, "description": "Of the language."},
		"extends":       object{"type": "string", "description": "The shipped policy that this one builds on, such as default."},
		"changes":       object{"type": "object", "description": "Of rules of the policy that is extended, by id.", "additionalProperties": object{"enum": append([]string{off}, severityNames[1:]...)}},
		"default":       object{"description": "What becomes of a listener that no rule allows.", "anyOf": []any{object{"enum": []string{"alert", "allow"}}, defaultSchema()}},
		"command_lines": object{"type": "boolean", "description": "Whether command lines may be logged and shown, redacted."},
		"include":       oneOrMore(object{"type": "string", "minLength": 1}, "Files, or directories with a / at the end, whose rules come behind this file's."),
		"sets":          object{"type": "object", "description": "Lists with names: $name stands for them.", "propertyNames": object{"pattern": setName.String()}, "additionalProperties": oneOrMore(text(), "")},
		"rules":         object{"type": "array", "description": "Tried in order.", "items": object{"$ref": "#/$defs/rule"}},
	}
	return object{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     "https://portaudit.example/schema/policy.schema.json",
		"title":   "portaudit policy, version 1",
		"type":    "object", "required": []string{"version"}, "properties": properties, "additionalProperties": false,
		"$defs": object{"rule": ruleSchema(), "match": matchSchema()},
	}
}

func defaultSchema() object {
	return object{
		"type": "object", "required": []string{"verdict"}, "additionalProperties": false,
		"properties": object{"verdict": object{"enum": []string{"alert", "allow"}}, "severity": object{"enum": severityNames[1:]}},
	}
}

func ruleSchema() object {
	said := func(description string) object {
		return object{"type": "string", "minLength": 1, "maxLength": maxText, "description": description}
	}
	none := func(keys ...string) object {
		properties := object{}
		for _, key := range keys {
			properties[key] = false
		}
		return properties
	}
	when := func(verdict string, then object) object {
		return object{"if": object{"properties": object{"verdict": object{"const": verdict}}, "required": []string{"verdict"}}, "then": then}
	}
	properties := object{
		"id":       object{"type": "string", "pattern": ruleID.String(), "description": "Unique."},
		"verdict":  object{"enum": []string{Alert.String(), Allow.String(), Require.String()}, "description": "alert adds a finding and goes on, allow ends the search, require wants a listener."},
		"severity": object{"enum": severityNames[1:]},
		"always":   object{"type": "boolean", "description": "Whether it is tried before all allowances."},
		"match":    object{"description": "The conditions, which must all hold, or any for every listener.", "anyOf": []any{object{"const": "any"}, object{"$ref": "#/$defs/match"}}},
		"when":     object{"enum": States(), "description": "A state of the host, instead of match."},
		"grace":    object{"type": "string", "pattern": agePattern, "description": "For how long what is required may be missing."},
		"reason":   said("Why the rule is there."),
		"owner":    said("Who answers for it."),
		"expires":  object{"type": "string", "pattern": `^\d{4}-\d{2}-\d{2}(T.+)?$`, "description": "The last day of an allowance, in UTC, or a time."},
		"tags":     oneOrMore(object{"type": "string", "pattern": tag.String()}, "Names such as pci-dss-2.2.4."),
		"message":  said("What was found."),
		"why":      said("Why that matters."),
		"fix":      said("What to do."),
	}
	return object{
		"type": "object", "required": []string{"id", "verdict"}, "properties": properties, "additionalProperties": false,
		"oneOf": []any{object{"required": []string{"match"}}, object{"required": []string{"when"}}},
		"allOf": []any{
			when(Alert.String(), object{"required": []string{"severity"}, "properties": none("expires", "grace")}),
			when(Allow.String(), object{"required": []string{"match"}, "properties": none("severity", "always", "when", "grace", "message", "why", "fix")}),
			when(Require.String(), object{"required": []string{"severity", "match"}, "properties": none("always", "when", "expires")}),
		},
	}
}

func matchSchema() object {
	group := object{"$ref": "#/$defs/match"}
	properties := object{
		"not": object{"description": "Holds where not all of these do.", "$ref": "#/$defs/match"},
		"any": object{"type": "array", "minItems": 1, "items": group, "description": "One of these holds."},
		"all": object{"type": "array", "minItems": 1, "items": group, "description": "All of these hold."},
	}
	maps.Copy(properties, conditionSchemas())
	return object{"type": "object", "minProperties": 1, "properties": properties, "additionalProperties": false}
}

const agePattern = `^[0-9.]+(d|h|m|s|ms)([0-9].*)?$`

// text is a value that is taken as it is written: an account may be called 1000.
func text() object {
	return object{"type": []string{"string", "number"}, "minLength": 1, "maxLength": maxText}
}

// oneOrMore is a value or a list of values.
func oneOrMore(one object, description string) object {
	o := object{"anyOf": []any{one, object{"type": "array", "minItems": 1, "items": one}}}
	if description != "" {
		o["description"] = description
	}
	return o
}

// conditionSchemas tells of each condition what it takes.
func conditionSchemas() object {
	yes := func(description string) object { return object{"type": "boolean", "description": description} }
	set := object{"type": "string", "pattern": setReference.String()}
	list := func(one object, description string) object {
		return oneOrMore(object{"anyOf": []any{one, set}}, description)
	}
	words := func(words []string, description string) object { return list(object{"enum": words}, description) }
	texts := func(description string) object { return oneOrMore(text(), description) }
	numbers := func(pattern string, most int, description string) object {
		return list(object{"anyOf": []any{object{"type": "integer", "minimum": 0, "maximum": most}, object{"type": "string", "pattern": pattern}}}, description)
	}
	var capabilities []string
	for _, name := range CapabilityNames() {
		capabilities = append(capabilities, "CAP_"+name)
	}
	transports := ""
	for _, t := range registry.TransportNames() {
		transports += "|" + regexp.QuoteMeta(t)
	}
	return object{
		"address":        texts("An address, or a prefix such as 192.0.2.0/24."),
		"authority":      words(Authorities(), "Why its owners may hold a privileged port."),
		"capabilities":   words(capabilities, "Effective capabilities of an owner, one of these."),
		"changed":        words(Changes(), "How it changed within the last day."),
		"command_line":   texts("Pattern of an owner's arguments."),
		"concealed":      yes("Something is mounted over the process's directory in /proc."),
		"container":      texts("Pattern of the container's id or name."),
		"deleted":        yes("The program's file is gone."),
		"dual_stack":     yes("An IPv6 socket that takes IPv4 too."),
		"ephemeral":      yes("The port lies in the host's range for automatic binds."),
		"executable":     texts("Pattern of the program's whole path."),
		"group":          texts("A group that the owner's account is in."),
		"image":          texts("Pattern of the container's image."),
		"interface":      texts("Pattern of the device that it is bound to."),
		"memory":         yes("The program never was a file on disk."),
		"namespace":      texts("Pattern of the network namespace's name."),
		"new":            yes("First seen within the last day, on a host that was watched."),
		"older_than":     object{"type": "string", "pattern": agePattern, "description": "First seen so long ago: 90s, 10m, 24h, 7d."},
		"owner":          words(append(Hows(), "unknown"), "How the owner is known."),
		"parent":         texts("Pattern of the name of the process that started it."),
		"port":           numbers(`^[0-9]+(-[0-9]+)?(/(`+transports[1:]+`))?$`, 65535, "A port or range, alone or of one transport: 53/udp."),
		"privileged":     yes("Opening the port takes a privilege on this host."),
		"program":        texts("Pattern of the last part of the program's path."),
		"range":          words([]string{"well-known", "registered", "dynamic"}, "IANA's range of the port."),
		"reach":          words(Reaches(), "From where it can be reached in effect."),
		"reachable":      yes("Other hosts may reach its address: all but loopback."),
		"risk":           words(severityNames[1:], "How gravely the port is commonly abused."),
		"root":           yes("The owner is all-powerful."),
		"scope":          words(scopeNames[1:], "Scope of the address."),
		"service":        texts("A name of the port."),
		"sha256":         list(object{"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}, "Digest of the file that runs."),
		"shadows":        yes("It takes what was meant for another program's listener."),
		"shared":         yes("Different programs or users hold it."),
		"state":          words([]string{"assigned", "unassigned", "reserved", "no statement"}, "Of the port in IANA's registry."),
		"transport":      words(registry.TransportNames(), "The kind of socket."),
		"uid":            numbers(`^[0-9]+-[0-9]+$`, 1<<32-1, "The number of the owner's account, or a range."),
		"unit":           texts("Pattern of the systemd unit or Windows service."),
		"user":           texts("Name of the owner's account."),
		"world_writable": yes("Every user may write where the program's file lies."),
	}
}

// keysOf returns the names of what an object has, in order.
func keysOf(o object) []string { return slices.Sorted(maps.Keys(o)) }
