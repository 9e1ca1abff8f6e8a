// Package export says what the audit log says in the words of others: the
// Elastic Common Schema (ECS), the Open Cybersecurity Schema Framework (OCSF)
// and comma-separated values for a spreadsheet. docs/export.md has the tables.
//
// It is pure: a record goes in, bytes come out. Whatever a schema has no word
// for is kept too: the record itself, as docs/json.md describes it, is part of
// each document, in ECS under "portaudit" and in OCSF under "unmapped".
//
// It refuses to know where records come from and where the bytes go.
package export
