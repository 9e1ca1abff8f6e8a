package alert

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// slackMessage is a message as Slack's incoming webhooks take it, and those of
// Mattermost and Rocket.Chat. All three know attachments, Slack alone blocks.
type slackMessage struct {
	Text        string            `json:"text"`
	Parse       string            `json:"parse"`      // "none": words are no links
	LinkNames   bool              `json:"link_names"` // no names, either
	UnfurlLinks bool              `json:"unfurl_links"`
	UnfurlMedia bool              `json:"unfurl_media"`
	ParseURLs   bool              `json:"parseUrls"` // Rocket.Chat's name for both
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Fallback string       `json:"fallback"` // for notifications
	Color    string       `json:"color"`
	Text     string       `json:"text"`
	Fields   []slackField `json:"fields"`
	MarkIn   []string     `json:"mrkdwn_in"`
}

type slackField struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

// Slack cuts a message behind 40,000 characters, Mattermost behind 16,383 and
// Rocket.Chat behind 5,000, of which these leave room.
const (
	maxSlackText  = 2 << 10
	maxSlackField = 512
)

// Slack is the Format of Slack-compatible chats. What a process, a host or a policy
// chose stands between backticks, in which the three neither format nor link, and
// no sign in it calls anybody.
func Slack(m Message) ([]byte, error) {
	m, err := harmless(m)
	if err != nil {
		return nil, err
	}
	title := slackTitle(m)
	return marshal(slackMessage{
		Text: title, Parse: "none",
		Attachments: []slackAttachment{{
			Fallback: title, Color: slackColor(m), Text: slackCode(m.Event.Message, maxSlackText),
			Fields: slackFields(m), MarkIn: []string{"text", "fields"},
		}},
	})
}

// slackTitle is the line that a telephone shows.
func slackTitle(m Message) string {
	what := slackCode(m.Event.Event, maxSlackField)
	switch m.Event.Event {
	case audit.FindingRaised:
		what = slackCode(strings.ToUpper(m.Event.Severity), 64) + " finding of rule " + slackCode(m.Event.Rule, maxSlackField)
	case audit.FindingCleared:
		what = "Cleared: finding of rule " + slackCode(m.Event.Rule, maxSlackField)
	case Summarized:
		what = "Summary: " + strconv.FormatUint(m.Summary.Count, 10) + " alerts that were not sent one by one"
		if m.Summary.Rule != "" {
			what += ", of rule " + slackCode(m.Summary.Rule, maxSlackField)
		}
	}
	if m.Event.Host == "" {
		return what
	}
	return what + " on " + slackCode(m.Event.Host, maxSlackField)
}

func slackColor(m Message) string {
	switch p := m.Priority(); {
	case m.Event.Event == audit.FindingCleared || m.Event.Event == audit.LogRestored:
		return "#2e7d32" // green
	case p <= Failure:
		return "#c62828" // red
	case p == Warning:
		return "#ef6c00" // orange
	default:
		return "#607d8b" // grey
	}
}

func slackFields(m Message) []slackField {
	var fields []slackField
	add := func(title, value string, short bool) {
		if value != "" {
			fields = append(fields, slackField{title, slackCode(value, maxSlackField), short})
		}
	}
	e := m.Event
	if e.Port != 0 {
		add("Port", strconv.FormatUint(uint64(e.Port), 10)+"/"+e.Transport, true)
	}
	add("Address", e.Address, true)
	add("Program", programs(e.Owners), true)
	add("User", users(e.Owners), true)
	add("Why", e.Why, false)
	add("Fix", e.Fix, false)
	for _, reason := range e.Errors[:min(len(e.Errors), 3)] {
		if !strings.Contains(e.Message, reason) {
			add("Error", reason, false)
		}
	}
	if s := m.Summary; s != nil {
		add("Last of them", s.Sample, false)
		if s.FirstSeq != 0 {
			add("Records", strconv.FormatUint(s.FirstSeq, 10)+" to "+strconv.FormatUint(s.LastSeq, 10), true)
		}
	}
	if e.Seq != 0 {
		add("Record", strconv.FormatUint(e.Seq, 10), true)
	}
	add("Time", e.Time.UTC().Format(time.RFC3339), true)
	return fields
}

// programs names what holds a socket, each once.
func programs(owners []audit.Owner) string {
	return each(owners, func(o audit.Owner) string {
		if o.Executable != "" {
			return o.Executable
		}
		return o.Command
	})
}

func users(owners []audit.Owner) string {
	return each(owners, func(o audit.Owner) string { return o.User })
}

func each(owners []audit.Owner, text func(audit.Owner) string) string {
	var all []string
	for _, o := range owners {
		if s := text(o); s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return strings.Join(all, ", ")
}

// slackCode puts a text between backticks, bounded with what escaping adds. Of its
// own backticks it makes a sign that looks the same (U+02CB) and ends nothing.
func slackCode(text string, limit int) string {
	if text == "" {
		return ""
	}
	for keep := limit; ; keep /= 2 {
		code := strings.ReplaceAll(slackPlain(audit.Clip(text, keep)), "`", "\u02cb")
		if len(code) <= limit || keep < limit/8 { // an escape is of five bytes at most
			return "`" + code + "`"
		}
	}
}

// slackPlain escapes the three characters that Slack gives a meaning
// (https://api.slack.com/reference/surfaces/formatting#escaping), by which
// <!channel> and <http://…|text> are text. Mattermost and Rocket.Chat call people
// by @ alone, so that it becomes U+FF20, which looks the same and calls nobody.
func slackPlain(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "\uff20").Replace(text)
}
